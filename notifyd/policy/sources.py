"""Where an argument of a system call lies: in a register, fixed by the call's name, or in memory.

Only what lies in a register can be tested by the kernel's filter. Reading from memory marks the
call as looked at, which decides what `Allow` may mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from notifyd.policy.bound import BoundCall, Source, Variant
from notifyd.policy.note import ARG0


@dataclass(frozen=True, slots=True)
class Reg:
    """System call argument `index`, 0 to 5. The field says how many bits of it count."""

    index: int
    bits: ClassVar[int] = 64

    def fetch(self, call: BoundCall) -> int:
        return call.note[ARG0 + self.index]


@dataclass(frozen=True, slots=True)
class Low(Reg):
    """The same where this call takes an int, and siblings of it a long: 32 bits count."""

    bits: ClassVar[int] = 32

    def fetch(self, call: BoundCall) -> int:
        return call.note[ARG0 + self.index] & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Half(Reg):
    """The same where 16 bits count: a `umode_t`, or an id of i386's oldest calls."""

    bits: ClassVar[int] = 16

    def fetch(self, call: BoundCall) -> int:
        return call.note[ARG0 + self.index] & 0xFFFF


@dataclass(frozen=True, slots=True)
class Reg16:
    """A 16-bit user or group id of i386's oldest calls, where 0xFFFF means -1."""

    index: int

    def fetch(self, call: BoundCall) -> int:
        value = call.note[ARG0 + self.index] & 0xFFFF
        return 0xFFFFFFFF if value == 0xFFFF else value


@dataclass(frozen=True, slots=True)
class Const:
    """A value that the call's name fixes, as creat(2) fixes its flags."""

    value: int

    def fetch(self, call: BoundCall) -> int:  # noqa: ARG002
        return self.value


@dataclass(frozen=True, slots=True)
class Pair:
    """A 64-bit value in two 32-bit registers, as i386 passes file sizes."""

    low: int
    high: int

    def fetch(self, call: BoundCall) -> int:
        return call.args[self.low] & 0xFFFFFFFF | (call.args[self.high] & 0xFFFFFFFF) << 32


@dataclass(frozen=True, slots=True)
class Mem:
    """`size` bytes, little endian, at `offset` behind the pointer in register `pointer`."""

    pointer: int
    offset: int
    size: int

    def fetch(self, call: BoundCall) -> int:
        data = call.read(call.args[self.pointer] + self.offset, self.size)
        return int.from_bytes(data, "little")


@dataclass(frozen=True, slots=True)
class Word:
    """Word `index` of the array behind register 1: the arguments of i386's socketcall(2)."""

    index: int

    def fetch(self, call: BoundCall) -> int:
        data = call.read(call.args[1] + 4 * self.index, 4)
        return int.from_bytes(data, "little")


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
