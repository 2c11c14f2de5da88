"""Limits and fixed numbers of the kernel that several packages go by."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_ERRNO", "MAX_LINKS", "PATH_MAX", "PROC_ROOT_INODE"]

MAX_ERRNO: Final = 4095  # results from -4095 to -1 are errnos: include/linux/err.h
MAX_LINKS: Final = 40  # symbolic links on one walk: MAXSYMLINKS in include/linux/namei.h
PATH_MAX: Final = 4096  # bytes with the NUL; limits.h, and what the kernel's getname() takes
PROC_ROOT_INODE: Final = 1  # of every /proc: PROC_ROOT_INO in include/linux/proc_fs.h
