"""A call: one notification, decoded as the operation it means and bound to its target.

It knows where its values lie, not how they are fetched: looking into the target is behind the
`Target` protocol, which `target/` implements and `notifyd.testing` stands in for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, ClassVar, Protocol, TypeAlias

from notifyd.errors import StaleCall
from notifyd.kernel.arch import ARCHES
from notifyd.kernel.syscalls.widths import width_of
from notifyd.policy.fields import Address, Field, Int, Path, text
from notifyd.policy.note import ARCH, ARG0, FLAGS, ID, IP, NR, PID, Note
from notifyd.policy.sources import Half, Low, Reg, Variant
from notifyd.policy.wording import parts_of, registers, words


class Process(Protocol):
    """Who makes a call. Read from /proc when first asked, and checked to be the target still."""

    @property
    def pid(self) -> int:
        """The thread group's id, in the supervisor's pid namespace."""

    @property
    def tid(self) -> int:
        """The calling thread's id, in the supervisor's pid namespace."""

    @property
    def ppid(self) -> int:
        """The parent's id."""

    @property
    def exe(self) -> PurePosixPath:
        """The file that it executes, as the kernel names it."""

    @property
    def cmdline(self) -> tuple[bytes, ...]:
        """Its arguments as it shows them now. The process can write there what it likes."""

    @property
    def cwd(self) -> PurePosixPath:
        """Its working directory."""

    @property
    def uid(self) -> int:
        """The thread's effective user id, in the supervisor's user namespace."""

    @property
    def gid(self) -> int:
        """The thread's effective group id, in the supervisor's user namespace."""

    @property
    def start(self) -> int:
        """Clock ticks from boot to its start: with the pid a name that no pid reuse can forge."""


class Target(Protocol):
    """The stopped thread, as far as a call may look into it."""

    @property
    def process(self) -> Process:
        """Whose thread it is."""

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises TargetFault, TargetGone."""

    def read_string(self, address: int, limit: int) -> bytes:
        """A string without its NUL. Raises TargetFault, also without a NUL in `limit` bytes."""

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """The strings of a vector of `word`-byte pointers that ends with a null pointer."""

    def resolve(
        self, dirfd: int, pathname: bytes, follow: bool, *, rooted: bool = False
    ) -> PurePosixPath:
        """The absolute path that `pathname` means to the target."""

    def is_mount_point(self, path: PurePosixPath) -> bool:
        """Whether something is mounted at an absolute path; nothing there is touched."""

    def digest(self, dirfd: int, pathname: bytes, follow: bool) -> str:
        """The SHA-256 of the file that `pathname` means to the target, in hexadecimal."""

    def write(self, address: int, data: bytes) -> None:
        """Write all of `data`. For answers, not for rules: see `Return`."""


class Origin(Protocol):
    """What a call comes from: the workload, as seen from a call."""

    @property
    def name(self) -> str:
        """The workload's id."""

    def target(self, note: Note) -> Target:
        """The stopped thread behind `note`."""

    def read_string(self, call: Call, address: int, limit: int) -> bytes:
        """As `Target.read_string` of the call's target, by the shortest way."""


_TARGET = ""  # the key in `seen` that is no field's name


class Call:
    """One stopped system call. Operations are its subclasses; their attributes are its arguments.

    Attributes:
        note: the kernel's record as a tuple; see `Note`.
        variant: which system call of the operation this is.
        looked: whether anything was read from the target's memory on behalf of a rule.
        seen: the decoded values, each read at most once.
    """

    __slots__ = ("_origin", "looked", "note", "seen", "variant")

    variants: ClassVar[tuple[Variant, ...]] = ()
    fields: ClassVar[Mapping[str, Field[Any]]] = {}
    summary: ClassVar[str] = ""
    title: ClassVar[str] = ""
    theme: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls.fields = {**cls.fields, **own}
        cls.summary = (cls.__doc__ or "").partition("\n")[0]
        cls.title = cls.__name__.removesuffix("Call")

    def __init__(self, note: Note, variant: Variant, origin: Origin | None) -> None:
        self.note = note
        self.variant = variant
        self.looked = False
        self.seen: dict[str, Any] = {}
        self._origin = origin

    # -- what every call has

    @property
    def operation(self) -> str:
        """The operation's name, as `Open`."""
        return self.title

    @property
    def syscall(self) -> str:
        """The system call's name, as `openat2`."""
        return self.variant.syscall

    @property
    def arch(self) -> str:
        """The architecture whose entry the target used: `x86_64`, `i386` or `aarch64`."""
        return ARCHES[self.note[ARCH]].name

    @property
    def args(self) -> tuple[int, ...]:
        """The six argument registers, unsigned; of 64 bits, or of 32 behind a 32-bit entry."""
        return self.note[ARG0:]

    @property
    def word_size(self) -> int:
        """Bytes in a pointer of the target: 8, or 4 behind a 32-bit entry."""
        return ARCHES[self.note[ARCH]].bits // 8

    @property
    def workload(self) -> str:
        """The id of the workload that the target belongs to."""
        return self.origin.name

    @property
    def process(self) -> Process:
        """Who makes the call."""
        return self.target.process

    # -- paths

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

    # -- looking

    @property
    def origin(self) -> Origin:
        """Raises StaleCall once the call is answered."""
        if self._origin is None:
            raise StaleCall(f"{self.operation}: this call is already answered; copy what you need")
        return self._origin

    @property
    def target(self) -> Target:
        """The stopped thread."""
        target: Target | None = self.seen.get(_TARGET)
        if target is None or self._origin is None:
            target = self.seen[_TARGET] = self.origin.target(self.note)
        return target

    def raw(self, name: str, default: int) -> int:
        """The undecoded argument behind field `name`, or `default` where this call has none."""
        source = self.variant.sources.get(name)
        return default if source is None else source.fetch(self)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the target's memory at `address`, exactly.

        Raises:
            TargetFault: a byte of it cannot be read; the target gets `EFAULT` if nobody catches it.
            TargetGone: the target is no longer in this call.
        """
        return self.read_field(address, size)

    def read_field(self, address: int, size: int) -> bytes:
        """As `read`, for a field of this call."""
        self.looked = True
        return self.target.read(address, size)

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """A NUL-terminated string of fewer than `limit` bytes; raises as `read` does."""
        self.looked = True
        return self.target.read_string(address, limit)

    def read_strings(
        self, address: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """A vector of strings that ends with a null pointer; raises as `read` does.

        Args:
            address: where the vector of pointers begins.
            max_strings: of more than these it raises TargetFault (E2BIG), or `cut`s the rest off.
            max_bytes: the same for their length together.
            cut: whether the first ones are enough.
        """
        self.looked = True
        target, word = self.target, self.word_size
        return target.read_strings(address, word, max_strings, max_bytes, cut=cut)

    def resolve(
        self, dirfd: int, pathname: bytes, follow: bool, *, rooted: bool = False
    ) -> PurePosixPath:
        """The absolute path that `pathname` means to the target, starting from its `dirfd`.

        Args:
            dirfd: a descriptor of the target's, or AT_FDCWD.
            pathname: the text.
            follow: whether a link in the last component is followed.
            rooted: whether `dirfd` is the root of the walk as well: RESOLVE_IN_ROOT of openat2(2).

        Raises:
            TargetFault: EACCES: it has no name in the target's own view, since it lies in another
                mount namespace. Others as `read` does.
            CannotPerform: a `rooted` path leads into /proc.
        """
        self.looked = True
        return self.target.resolve(dirfd, pathname, follow, rooted=rooted)

    def is_mount_point(self, path: PurePosixPath) -> bool:
        """Whether something is mounted there, as the target sees it; raises as `read` does."""
        self.looked = True
        return self.target.is_mount_point(path)

    def digest(self, dirfd: int, pathname: bytes, follow: bool) -> str:
        """The SHA-256 of a file, named as for `resolve`, in hexadecimal."""
        self.looked = True
        return self.target.digest(dirfd, pathname, follow)

    def describe(self) -> dict[str, Any]:
        """The arguments as they stand in an event. Not a rule's look: `looked` stays as it is."""
        operation: Any = type(self)
        return words(self, parts_of(operation, self.variant, self.note[ARCH]))

    def close(self) -> None:
        """The call is answered: from here on looking raises StaleCall."""
        self._origin = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={value!r}" for n, value in sorted(self.seen.items()) if n)
        return f"{self.operation}({self.syscall}{', ' if shown else ''}{shown})"


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
