"""A call: one notification, decoded as the operation it means and bound to its target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, TypeAlias

from notifyd.kernel.arch import ARCHES
from notifyd.kernel.syscalls.widths import width_of
from notifyd.policy.bound import BoundCall, Origin, Process, Target, Variant
from notifyd.policy.fields import Address, Field, Int, Path, text
from notifyd.policy.note import ARCH, ARG0, FLAGS, ID, IP, NR, PID, Note
from notifyd.policy.sources import Half, Low, Reg
from notifyd.policy.wording import parts_of, registers, words


class Call(BoundCall):
    """One stopped system call. Operations are its subclasses; their attributes are its arguments.

    Attributes: as of `BoundCall`.
    """

    __slots__ = ()

    variants: ClassVar[tuple[Variant, ...]] = ()
    fields: ClassVar[Mapping[str, Field[Any]]] = {}
    summary: ClassVar[str] = ""
    theme: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls.fields = {**cls.fields, **own}
        cls.summary = (cls.__doc__ or "").partition("\n")[0]
        cls.title = cls.__name__.removesuffix("Call")

    @property
    def paths(self) -> Mapping[str, PurePosixPath]:
        """Every path that the call names or changes, resolved, by the field's name, in order.

        A descriptor alone (fstat, AT_EMPTY_PATH) names none, since what is open is open. But if the
        call changes the file by it (fchmod), the file's path is here. Looks at memory; raises as
        `read` does.
        """
        return dict(self._paths(changed_alone=False))

    @property
    def written_paths(self) -> Mapping[str, PurePosixPath]:
        """Those of `paths` where the call may change what is there, or what is said of it.

        An open counts when it writes, makes or truncates. A rename and a hard link change both of
        their places: a second name is a second way in. Reading changes nothing, although it may
        leave an access time. Looks at memory; raises as `read` does.
        """
        return dict(self._paths(changed_alone=True))

    def _paths(self, *, changed_alone: bool) -> Iterator[tuple[str, PurePosixPath]]:
        for name, field in self.fields.items():
            if not isinstance(field, Path) or not field.is_given(self):
                continue
            if field.changes(self) or (not changed_alone and field.names(self)):
                yield name, field.__get__(self, type(self))

    def describe(self) -> dict[str, Any]:
        """The arguments as they stand in an event. Not a rule's look: `looked` stays as it is."""
        operation: Any = type(self)
        return words(self, parts_of(operation, self.variant, self.note[ARCH]))


class RawCall(Call):
    """A system call that no operation models, or one that a rule wants bare."""

    __slots__ = ()
    theme = "raw"
    arg0 = Address("register 0")
    arg1 = Address("register 1")
    arg2 = Address("register 2")
    arg3 = Address("register 3")
    arg4 = Address("register 4")
    arg5 = Address("register 5")

    @property
    def args(self) -> tuple[int, ...]:
        """All six registers. Those that the system call does not use hold rubbish."""
        self.seen["args"] = found = super().args
        return found

    def describe(self) -> dict[str, Any]:
        """The six registers as hexadecimal numbers, in one text."""
        return registers(self.note)


_BY_WIDTH = {64: Reg, 32: Low, 16: Half}


def _raw_variants(syscall: str) -> tuple[Variant, ...]:
    """The lines of a bare call: one for each entry where other bits of its registers count."""
    widths = {
        arch.name: tuple(width_of(arch.name, syscall, at) for at in range(6))
        for arch in ARCHES.values()
    }
    return tuple(
        Variant(syscall, {f"arg{at}": _BY_WIDTH[one](at) for at, one in enumerate(six)}, arch=name)
        for name, six in widths.items()
    )


class Raw:
    """Names system calls instead of an operation: `@on(Raw("sysinfo"))`. The rule gets a `RawCall`.

    A condition on one of its registers (`arg0` to `arg5`), and the attribute of that name, is about
    the bits that the system call looks at: 32 of an int, whatever lies above them.

    Args:
        syscalls: names as in syscalls(2). A name that no architecture here has is an error when the
            rules are loaded.
    """

    __slots__ = ("syscalls", "variants")

    def __init__(self, *syscalls: str) -> None:
        self.syscalls = syscalls
        self.variants = tuple(one for name in syscalls for one in _raw_variants(name))

    def __repr__(self) -> str:
        return f"Raw({', '.join(map(repr, self.syscalls))})"


Operation: TypeAlias = type[Call] | Raw

__all__ = ["ARCH", "ARG0", "FLAGS", "ID", "IP", "NR", "PID", "Call", "Note", "Operation", "Origin"]
__all__ += ["Int", "Process", "Raw", "RawCall", "Target", "text"]
