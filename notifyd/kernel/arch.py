"""The entries into the kernel, and the numbers that system calls have there.

A number means nothing without its entry: 59 is execve on x86-64, oldolduname on i386 and pipe2 on
aarch64. Owns the table of entries by their `AUDIT_ARCH_*` value (linux/audit.h), which is what a
filter and a notification carry. Knows nothing of what the calls do.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from notifyd.kernel.syscalls import aarch64, i386, x86_64

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ARCHES",
    "AUDIT_ARCH_AARCH64",
    "AUDIT_ARCH_I386",
    "AUDIT_ARCH_X86_64",
    "X32_BIT",
    "Arch",
    "arch_name",
    "entries",
    "native",
]

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_AARCH64 = 0xC00000B7

X32_BIT = 0x40000000
"""Set in the number of an x32 call, whose audit value is that of x86-64: seccomp(2), "x32 ABI"."""


@dataclass(frozen=True, slots=True)
class Arch:
    """One entry into the kernel.

    Attributes:
        name: `x86_64`, `i386` or `aarch64`.
        audit: Its `AUDIT_ARCH_*` value.
        bits: How wide its registers and pointers are, 32 or 64.
        numbers: System call names, as the kernel writes them, to numbers.
    """

    name: str
    audit: int
    bits: int
    numbers: Mapping[str, int] = field(repr=False, hash=False, compare=False)

    def name_of(self, nr: int) -> str | None:
        """Return the name of call `nr`; None if this table has none, as for a newer kernel's."""
        return _names(self).get(nr)


@cache
def _names(arch: Arch) -> Mapping[int, str]:
    """Return the inverted table. Made once for each entry, on first use."""
    return {number: name for name, number in arch.numbers.items()}


def _arch(name: str, audit: int, bits: int, numbers: dict[str, int]) -> Arch:
    return Arch(name, audit, bits, MappingProxyType(numbers))


_X86_64 = _arch("x86_64", AUDIT_ARCH_X86_64, 64, x86_64.X86_64_NUMBERS)
_I386 = _arch("i386", AUDIT_ARCH_I386, 32, i386.I386_NUMBERS)
_AARCH64 = _arch("aarch64", AUDIT_ARCH_AARCH64, 64, aarch64.AARCH64_NUMBERS)

ARCHES: Mapping[int, Arch] = MappingProxyType({a.audit: a for a in (_X86_64, _I386, _AARCH64)})

# What uname(2) calls the machine. A 64-bit process under personality(PER_LINUX32) gets the
# 32-bit name (i686, armv8l), though its own calls still come in by the 64-bit entry.
_MACHINES: Mapping[str, Arch] = MappingProxyType(
    {"x86_64": _X86_64, "i686": _X86_64, "aarch64": _AARCH64, "armv8l": _AARCH64}
)


@cache
def native() -> Arch:
    """Return the entry that this process uses.

    Raises:
        OSError: ENOSYS: notifyd has no system call table for this machine.
    """
    machine = os.uname().machine
    arch = _MACHINES.get(machine)
    if arch is None:
        raise OSError(errno.ENOSYS, f"no system call table for {machine!r}")
    return arch


def entries(native: Arch) -> tuple[Arch, ...]:
    """Return the entries that programs on a machine of this kind can use, the native one first.

    The 32-bit Arm entry is not among them: a filter has to refuse what it does not know.
    """
    return (_X86_64, _I386) if native is _X86_64 else (native,)


def arch_name(audit: int) -> str:
    """`x86_64` for AUDIT_ARCH_X86_64; the number as text where it is not ours."""
    arch = ARCHES.get(audit)
    return arch.name if arch is not None else hex(audit)
