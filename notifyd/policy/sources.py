"""Where an argument of a system call lies: in a register, fixed by the call's name, or in memory.

Only what lies in a register can be tested by the kernel's filter. Reading from memory marks the
call as looked at, which decides what `Allow` may mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from notifyd.policy.note import ARG0

if TYPE_CHECKING:
    from notifyd.policy.call import Call


class Source(Protocol):
    """Where a raw, unsigned argument comes from."""

    def fetch(self, call: Call) -> int:
        """The raw value; may read the target's memory."""


@dataclass(frozen=True, slots=True)
class Reg:
    """System call argument `index`, 0 to 5. The field says how many bits of it count."""

    index: int
    bits: ClassVar[int] = 64

    def fetch(self, call: Call) -> int:
        return call.note[ARG0 + self.index]


@dataclass(frozen=True, slots=True)
class Low(Reg):
    """The same where this call takes an int, and siblings of it a long: 32 bits count."""

    bits: ClassVar[int] = 32

    def fetch(self, call: Call) -> int:
        return call.note[ARG0 + self.index] & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Half(Reg):
    """The same where 16 bits count: a `umode_t`, or an id of i386's oldest calls."""

    bits: ClassVar[int] = 16

    def fetch(self, call: Call) -> int:
        return call.note[ARG0 + self.index] & 0xFFFF


@dataclass(frozen=True, slots=True)
class Reg16:
    """A 16-bit user or group id of i386's oldest calls, where 0xFFFF means -1."""

    index: int

    def fetch(self, call: Call) -> int:
        value = call.note[ARG0 + self.index] & 0xFFFF
        return 0xFFFFFFFF if value == 0xFFFF else value


@dataclass(frozen=True, slots=True)
class Const:
    """A value that the call's name fixes, as creat(2) fixes its flags."""

    value: int

    def fetch(self, call: Call) -> int:  # noqa: ARG002
        return self.value


@dataclass(frozen=True, slots=True)
class Pair:
    """A 64-bit value in two 32-bit registers, as i386 passes file sizes."""

    low: int
    high: int

    def fetch(self, call: Call) -> int:
        return call.args[self.low] & 0xFFFFFFFF | (call.args[self.high] & 0xFFFFFFFF) << 32


@dataclass(frozen=True, slots=True)
class Mem:
    """`size` bytes, little endian, at `offset` behind the pointer in register `pointer`."""

    pointer: int
    offset: int
    size: int

    def fetch(self, call: Call) -> int:
        data = call.read(call.args[self.pointer] + self.offset, self.size)
        return int.from_bytes(data, "little")


@dataclass(frozen=True, slots=True)
class Word:
    """Word `index` of the array behind register 1: the arguments of i386's socketcall(2)."""

    index: int

    def fetch(self, call: Call) -> int:
        data = call.read(call.args[1] + 4 * self.index, 4)
        return int.from_bytes(data, "little")


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


def call(
    syscall: str,
    *,
    when: dict[int, int] | None = None,
    arch: str | None = None,
    **fields: int | Source,
) -> Variant:
    """A line of an operation's table; a bare number is a register.

    `call("openat", dirfd=0, pathname=1, flags=2, mode=3)`
    """
    sources = {name: Reg(at) if isinstance(at, int) else at for name, at in fields.items()}
    return Variant(syscall, sources, tuple(sorted((when or {}).items())), arch)


def socketcall(number: int, *names: str) -> Variant:
    """A line for i386: sub-call `number` of socketcall, its arguments `names` all in memory."""
    return Variant(
        "socketcall", {name: Word(at) for at, name in enumerate(names)}, ((0, number),), "i386"
    )
