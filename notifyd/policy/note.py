"""A note: the kernel's record of a stopped call, `struct seccomp_notif`, as a tuple."""

from __future__ import annotations

from typing import TypeAlias

# id, pid (a thread's), flags, nr, arch, instruction pointer, six arguments.
Note: TypeAlias = tuple[int, ...]
ID, PID, FLAGS, NR, ARCH, IP, ARG0 = range(7)
