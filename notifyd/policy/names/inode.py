"""inode(7): kinds of files and their permission bits.

From include/uapi/linux/stat.h.
"""

from __future__ import annotations

__all__ = ["FILE_KINDS", "PERMISSIONS", "S_IFMT"]

# The mask over a mode that leaves the kind.
S_IFMT = 0o170000
FILE_KINDS: dict[str, int] = {
    "S_IFIFO": 0o10000,
    "S_IFCHR": 0o20000,
    "S_IFDIR": 0o40000,
    "S_IFBLK": 0o60000,
    "S_IFREG": 0o100000,
    "S_IFLNK": 0o120000,
    "S_IFSOCK": 0o140000,
}

# The bits above rwxrwxrwx.
PERMISSIONS: dict[str, int] = {
    "S_ISUID": 0o4000,
    "S_ISGID": 0o2000,
    "S_ISVTX": 0o1000,
}
