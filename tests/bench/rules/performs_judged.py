"""Every open is performed: what the path means was looked at, and is what is opened."""

from notifyd import Allow, Open, on


@on(Open)
def performs_judged(call: Open) -> Allow:
    _ = call.path
    return Allow()
