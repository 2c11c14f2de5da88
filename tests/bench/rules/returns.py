"""getppid gets a value, by a rule that looks at nothing: the least that a rule can cost."""

from notifyd import Raw, Return, on


@on(Raw("getppid"))
def returns(call: Raw) -> Return:
    return Return(42)
