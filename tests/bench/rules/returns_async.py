"""getppid gets a value, by a rule with a task of its own that never waits."""

from notifyd import Raw, Return, on


@on(Raw("getppid"))
async def returns_async(call: Raw) -> Return:
    return Return(42)
