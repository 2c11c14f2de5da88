"""Every open is performed: its path was read as the target wrote it, and means that."""

from notifyd import Allow, Open, on


@on(Open)
def performs_open(call: Open) -> Allow:
    _ = call.pathname
    return Allow()
