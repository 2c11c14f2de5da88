"""Looks at all that a call's pointers lead to, and has every call performed that can be."""

from notifyd import Allow, Continue, Exec, on
from notifyd.perform import FILE_PERFORMERS


@on(*FILE_PERFORMERS)
def performer(call):
    """Nothing of these is left to the kernel to read again."""
    for name, field in call.fields.items():
        if field.memory and getattr(field, "is_given", lambda _: True)(call):
            getattr(call, name)
    return Allow()


@on(Exec)
def executes(call):
    """Only the target itself can do this."""
    return Continue()
