"""A profile as a value: what the kernel is asked to hold, and what that means.

Owns the words action, condition, clause and entry, and `decide`, the reference meaning that every
program is compared with. Knows nothing of BPF, of libseccomp or of rules.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notifyd.kernel.arch import ARCHES, X32_BIT
from notifyd.kernel.limits import MASK64, MAX_ERRNO

__all__ = [
    "ALLOW",
    "KILL_PROCESS",
    "KILL_THREAD",
    "LOG",
    "NOTIFY",
    "TRAP",
    "Action",
    "ArchTable",
    "Clause",
    "Cube",
    "Masked",
    "Profile",
    "decide",
    "errno_action",
]

NO_SYSCALL = 0xFFFFFFFF  # -1, which a tracer writes into the number to skip the call: ptrace(2)
_DATA = 0xFFFF  # the low half of an action: the errno, the trace message
_ERRNO = 0x0005_0000
_BITS = {arch.name: arch.bits for arch in ARCHES.values()}


@dataclass(frozen=True, slots=True)
class Action:
    """What a program returns for a call: a `SECCOMP_RET_*` value with its data. See seccomp(2)."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 0xFFFFFFFF:
            raise ValueError(f"{self.value:#x} is no 32-bit return value of a seccomp program")
        if self.value & ~_DATA == _ERRNO and self.value & _DATA > MAX_ERRNO:
            raise ValueError(
                f"{self.value & _DATA} is not an errno: the kernel knows 0 to {MAX_ERRNO}"
            )

    def __str__(self) -> str:
        if self.value & ~_DATA == _ERRNO:
            number = self.value & _DATA
            return f"errno {errno.errorcode.get(number, number)}"
        return _NAMES.get(self.value, f"{self.value:#010x}")


ALLOW = Action(0x7FFF_0000)
KILL_PROCESS = Action(0x8000_0000)
KILL_THREAD = Action(0x0000_0000)
LOG = Action(0x7FFC_0000)
NOTIFY = Action(0x7FC0_0000)
TRAP = Action(0x0003_0000)

_NAMES: Mapping[int, str] = {
    ALLOW.value: "allow",
    KILL_PROCESS.value: "kill process",
    KILL_THREAD.value: "kill thread",
    LOG.value: "log",
    NOTIFY.value: "notify",
    TRAP.value: "trap",
}


def errno_action(n: int) -> Action:
    """The action that fails a call with errno `n`; 0 makes it succeed without being done.

    Raises:
        ValueError: `n` is not within 0 and 4095.
    """
    if not 0 <= n <= MAX_ERRNO:
        raise ValueError(f"{n} is not an errno: give one between 0 and {MAX_ERRNO}")
    return Action(_ERRNO | n)


@dataclass(frozen=True, slots=True, order=True)
class Masked:
    """The condition `args[arg] & mask == value`, on all the bits that a register has: 64, or 32.

    Raises:
        ValueError: no such argument, or a condition that holds always or never.
    """

    arg: int
    mask: int
    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.arg <= 5:
            raise ValueError(f"a system call has arguments 0 to 5, not {self.arg}")
        if not 0 < self.mask <= MASK64:
            raise ValueError(f"{self.mask:#x} is not a mask of 1 to 64 bits")
        if self.value & ~self.mask:
            raise ValueError(f"{self.value:#x} has bits outside of its mask {self.mask:#x}")

    def holds(self, args: Sequence[int]) -> bool:
        """Whether the six arguments of a call, as unsigned registers, meet the condition."""
        return args[self.arg] & self.mask == self.value


Cube = tuple[Masked, ...]
"""All of them hold. At most one for each argument, in their order; `()` always holds."""


@dataclass(frozen=True, slots=True)
class Clause:
    """An action for the calls that any of the cubes matches. `note` says why."""

    action: Action
    cubes: tuple[Cube, ...]
    note: str = ""

    def __post_init__(self) -> None:
        for cube in self.cubes:
            used = [masked.arg for masked in cube]
            if used != sorted(set(used)):
                raise ValueError(f"a cube has each argument once, in order, not {used}")

    def holds(self, args: Sequence[int]) -> bool:
        """Whether any of the cubes holds for the six arguments."""
        return any(all(masked.holds(args) for masked in cube) for cube in self.cubes)


@dataclass(frozen=True, slots=True)
class ArchTable:
    """One system call table of the machine, by the name of its architecture.

    The clauses of a number are ordered: the first that holds decides, else the profile's default.
    """

    arch: str
    clauses: Mapping[int, tuple[Clause, ...]]


@dataclass(frozen=True, slots=True)
class Profile:
    """All that the kernel is asked to hold.

    `unknown_arch` answers what comes through an entry that is not named here, and x86-64's x32
    numbers, which no entry describes.
    """

    default: Action
    entries: tuple[ArchTable, ...]
    unknown_arch: Action


def decide(profile: Profile, arch_name: str, nr: int, args: Sequence[int]) -> Action:
    """What the profile says to a call: the meaning that a compiled program must have.

    Args:
        profile: The profile.
        arch_name: The architecture of the entry that the call came through.
        nr: The system call number, unsigned or as the kernel's signed 32 bits.
        args: Six registers, unsigned. Behind a 32-bit entry what is above 32 bits does not count.
    """
    number = nr & 0xFFFFFFFF
    entry = next((entry for entry in profile.entries if entry.arch == arch_name), None)
    if entry is None or (arch_name == "x86_64" and X32_BIT <= number != NO_SYSCALL):
        return profile.unknown_arch
    full = (1 << _BITS.get(arch_name, 64)) - 1
    used = tuple(arg & full for arg in args)
    for clause in entry.clauses.get(number, ()):
        if clause.holds(used):
            return clause.action
    return profile.default
