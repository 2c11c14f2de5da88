"""A classic BPF program as a value, and its bytes.

Owns the shape `struct sock_filter` and the kernel's limit on its number. Knows nothing of what the
instructions mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from notifyd.errors import FilterError
from notifyd.kernel.limits import BPF_MAXINSNS

__all__ = ["BPF_MAXINSNS", "Instruction", "Program"]

_SOCK_FILTER = struct.Struct("=HBBI")  # struct sock_filter, linux/filter.h


class Instruction(NamedTuple):
    """One instruction: its code, where to go if true and if false (relative), and its number."""

    code: int
    jt: int = 0
    jf: int = 0
    k: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """A program of 1 to 4096 instructions.

    Raises:
        FilterError: it is empty, or longer than the kernel takes.
    """

    instructions: tuple[Instruction, ...]

    def __post_init__(self) -> None:
        if not self.instructions:
            raise FilterError("a filter program has at least one instruction; this one is empty")
        if len(self.instructions) > BPF_MAXINSNS:
            raise FilterError(
                f"the filter program has {len(self.instructions)} instructions and the kernel takes"
                f" {BPF_MAXINSNS}; name fewer calls or put fewer conditions on arguments"
            )

    def __len__(self) -> int:
        return len(self.instructions)

    def to_bytes(self) -> bytes:
        """An array of `struct sock_filter`, 8 bytes each, in the byte order of this machine."""
        return b"".join(_SOCK_FILTER.pack(*one) for one in self.instructions)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Program:
        """The program of such an array.

        Raises:
            FilterError: no whole number of instructions, none at all, or too many.
        """
        if len(raw) % _SOCK_FILTER.size:
            raise FilterError(f"{len(raw)} bytes are no whole number of 8-byte BPF instructions")
        return cls(tuple(Instruction(*one) for one in _SOCK_FILTER.iter_unpack(raw)))
