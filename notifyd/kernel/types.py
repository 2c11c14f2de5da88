"""Numbers that mean something only inside a target, as types of their own.

They cost nothing at run time; mypy keeps them from being used as ours.
"""

from __future__ import annotations

from typing import NewType

__all__ = ["TargetAddress", "TargetFd", "TargetTid"]

TargetAddress = NewType("TargetAddress", int)
"""An address in the target's memory, 0 to 2**64 - 1."""

TargetFd = NewType("TargetFd", int)
"""A descriptor number in the target's table. `AT_FDCWD` (-100) is one too."""

TargetTid = NewType("TargetTid", int)
"""A thread id, as our own pid namespace shows it. Only trusted while the notification is valid."""
