"""What performing a call comes to, as a value."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["Done", "Memory"]

Memory: TypeAlias = tuple[tuple[int, bytes], ...]


class Done(NamedTuple):
    """What the target gets.

    Attributes:
        value: the call's result; `errno` counts where it is not 0.
        memory: (address, bytes) to write before the answer.
        fd: a descriptor to inject; owned by whoever holds this. `cloexec` is how.
    """

    value: int = 0
    errno: int = 0
    memory: Memory = ()
    fd: int | None = None
    cloexec: bool = False
