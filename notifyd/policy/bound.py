"""A notification bound to its target: what fields, their sources and events see of a call.

It knows where its values lie, not how they are fetched: looking into the target is behind the
`Target` protocol, which `target/` implements and `notifyd.testing` stands in for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, Protocol

from notifyd.errors import StaleCall
from notifyd.kernel.arch import ARCHES
from notifyd.policy.note import ARCH, ARG0, Note

__all__ = ["BoundCall", "Origin", "Process", "Source", "Target", "Variant"]


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

    def read_string(self, call: BoundCall, address: int, limit: int) -> bytes:
        """As `Target.read_string` of the call's target, by the shortest way."""


class Source(Protocol):
    """Where a raw, unsigned argument comes from."""

    def fetch(self, call: BoundCall) -> int:
        """The raw value; may read the target's memory."""


@dataclass(frozen=True, slots=True, eq=False)  # one line of a table is no other
class Variant:
    """One system call of an operation, and where it keeps the operation's fields.

    Attributes:
        syscall: the call's name in syscalls(2).
        sources: the source of each field that this call has.
        when: registers (32 bits of each) that must hold these values, for a call that does many
            things: socketcall, prctl, ipc.
        arch: the one architecture this variant is for, or None for all that have the call.
    """

    syscall: str
    sources: dict[str, Source] = field(default_factory=dict)
    when: tuple[tuple[int, int], ...] = ()
    arch: str | None = None


_TARGET = ""  # the key in `seen` that is no field's name


class BoundCall:
    """One stopped system call, without the fields of its operation.

    Attributes:
        note: the kernel's record as a tuple; see `Note`.
        variant: which system call of the operation this is.
        looked: whether anything was read from the target's memory on behalf of a rule.
        seen: the decoded values, each read at most once.
    """

    __slots__ = ("_origin", "looked", "note", "seen", "variant")

    fields: ClassVar[Mapping[str, Any]] = {}  # by name; `Call` says what they are
    title: ClassVar[str] = ""

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

    def close(self) -> None:
        """The call is answered: from here on looking raises StaleCall."""
        self._origin = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={value!r}" for n, value in sorted(self.seen.items()) if n)
        return f"{self.operation}({self.syscall}{', ' if shown else ''}{shown})"
