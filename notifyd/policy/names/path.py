"""Flags of calls that take paths: the *at(2) calls, rename(2), access(2), statx(2).

From include/uapi/linux/fcntl.h, fs.h, stat.h and xattr.h.
"""

from __future__ import annotations

__all__ = [
    "ACCESS_FLAGS",
    "AT_ACCESS_FLAGS",
    "AT_EXEC_FLAGS",
    "AT_FLAGS",
    "AT_HANDLE_FLAGS",
    "AT_STAT_FLAGS",
    "RENAME_FLAGS",
    "STATX_MASK",
    "XATTR_FLAGS",
]

# 0x200 is AT_REMOVEDIR to unlinkat(2) and AT_EACCESS to faccessat2(2).
AT_FLAGS: dict[str, int] = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_REMOVEDIR": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400,
    "AT_NO_AUTOMOUNT": 0x800,
    "AT_EMPTY_PATH": 0x1000,
}

# faccessat2(2).
AT_ACCESS_FLAGS: dict[str, int] = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_EACCESS": 0x200,
    "AT_EMPTY_PATH": 0x1000,
}

# execveat(2); AT_EXECVE_CHECK since Linux 6.14.
AT_EXEC_FLAGS: dict[str, int] = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_EMPTY_PATH": 0x1000,
    "AT_EXECVE_CHECK": 0x10000,
}

# name_to_handle_at(2).
AT_HANDLE_FLAGS: dict[str, int] = {
    "AT_HANDLE_MNT_ID_UNIQUE": 1,
    "AT_HANDLE_CONNECTABLE": 2,
    "AT_HANDLE_FID": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400,
    "AT_EMPTY_PATH": 0x1000,
}

# newfstatat(2) and statx(2).
AT_STAT_FLAGS: dict[str, int] = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_REMOVEDIR": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400,
    "AT_NO_AUTOMOUNT": 0x800,
    "AT_EMPTY_PATH": 0x1000,
    "AT_STATX_FORCE_SYNC": 0x2000,
    "AT_STATX_DONT_SYNC": 0x4000,
}

# access(2); 0 is F_OK.
ACCESS_FLAGS: dict[str, int] = {
    "X_OK": 1,
    "W_OK": 2,
    "R_OK": 4,
}

# renameat2(2).
RENAME_FLAGS: dict[str, int] = {
    "RENAME_NOREPLACE": 1,
    "RENAME_EXCHANGE": 2,
    "RENAME_WHITEOUT": 4,
}

# setxattr(2).
XATTR_FLAGS: dict[str, int] = {
    "XATTR_CREATE": 1,
    "XATTR_REPLACE": 2,
}

# What statx(2) is asked for.
STATX_MASK: dict[str, int] = {
    "STATX_TYPE": 1,
    "STATX_MODE": 2,
    "STATX_NLINK": 4,
    "STATX_UID": 8,
    "STATX_GID": 0x10,
    "STATX_ATIME": 0x20,
    "STATX_MTIME": 0x40,
    "STATX_CTIME": 0x80,
    "STATX_INO": 0x100,
    "STATX_SIZE": 0x200,
    "STATX_BLOCKS": 0x400,
    "STATX_BASIC_STATS": 0x7FF,
    "STATX_BTIME": 0x800,
    "STATX_MNT_ID": 0x1000,
    "STATX_DIOALIGN": 0x2000,
    "STATX_ALL": 0xFFF,
}
