"""Whatever neighbours.c does to keep a supervisor: answered, looked at, decided in a task."""

from notifyd import Allow, Exec, Open, Raw, Return, on


@on(Raw("getppid"))
def returns(call: Raw) -> Return:
    return Return(42)


@on(Raw("getpgid"))
async def returns_async(call: Raw) -> Return:
    return Return(1)


@on(Open)
def looks(call: Open) -> Allow:
    _ = call.path
    return Allow()


@on(Exec)
def verifies(call: Exec) -> Allow:
    _ = call.path, call.argv, call.sha256
    return Allow()
