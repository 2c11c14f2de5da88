"""Looks at all that a call's pointers lead to, and has every call performed that can be."""

from notifyd import Allow, Exec, Mount, Return, SysInfo, on
from notifyd.perform import FILE_PERFORMERS


@on(*(one for one in FILE_PERFORMERS if one is not Mount))
def performed(call):
    """Nothing of these is left to the kernel."""
    for name, field in call.fields.items():
        if field.memory and getattr(field, "is_given", lambda _: True)(call):
            getattr(call, name)
    return Allow()


@on(Exec)
def executes(call):
    """The name, the arguments, and the digest."""
    assert call.path.is_absolute()
    assert len(call.argv) >= 0
    assert call.sha256 is not None
    return Allow()


@on(SysInfo)
def pulse(call):
    """What costs next to nothing."""
    return Return(4711)
