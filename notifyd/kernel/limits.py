"""Limits and fixed numbers of the kernel that several packages go by."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BPF_MAXINSNS",
    "MASK32",
    "MASK64",
    "MAX_ERRNO",
    "MAX_LINKS",
    "MAX_USER_NAMESPACES",
    "PATH_MAX",
    "PROC_ROOT_INODE",
    "READ_BYTES",
]

MASK32: Final = 0xFFFFFFFF
MASK64: Final = 0xFFFFFFFF_FFFFFFFF
BPF_MAXINSNS: Final = 4096  # instructions of a program: linux/bpf_common.h

MAX_ERRNO: Final = 4095  # results from -4095 to -1 are errnos: include/linux/err.h
MAX_LINKS: Final = 40  # symbolic links on one walk: MAXSYMLINKS in include/linux/namei.h
PATH_MAX: Final = 4096  # bytes with the NUL; limits.h, and what the kernel's getname() takes
PROC_ROOT_INODE: Final = 1  # of every /proc: PROC_ROOT_INO in include/linux/proc_fs.h
# Within each other, the first one among them: 33 can be nested in it (measured), where
# user_namespaces(7) says 32.
MAX_USER_NAMESPACES: Final = 34
READ_BYTES: Final = 1 << 16  # to read at once where nobody says how many come: a pipe's, pipe(7)
