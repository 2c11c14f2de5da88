"""open(2) and openat2(2): how a file is opened.

From include/uapi/asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h and linux/openat2.h.
"""

from __future__ import annotations

__all__ = ["ACCESS_MODES", "OPEN_FLAGS", "OPEN_FLAGS_ARM", "RESOLVE_FLAGS"]

# Under the mask 3. The fourth value, 3, wants both permissions and gives neither: open(2).
ACCESS_MODES: dict[str, int] = {
    "O_RDONLY": 0,
    "O_WRONLY": 1,
    "O_RDWR": 2,
}

# x86, both entries.
OPEN_FLAGS: dict[str, int] = {
    "O_CREAT": 0o100,
    "O_EXCL": 0o200,
    "O_NOCTTY": 0o400,
    "O_TRUNC": 0o1000,
    "O_APPEND": 0o2000,
    "O_NONBLOCK": 0o4000,
    "O_DSYNC": 0o10000,
    "O_ASYNC": 0o20000,
    "O_DIRECT": 0o40000,
    "O_LARGEFILE": 0o100000,
    "O_DIRECTORY": 0o200000,
    "O_NOFOLLOW": 0o400000,
    "O_NOATIME": 0o1000000,
    "O_CLOEXEC": 0o2000000,
    "O_SYNC": 0o4010000,
    "O_PATH": 0o10000000,
    "O_TMPFILE": 0o20200000,
}

# aarch64 gives O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE other bits.
OPEN_FLAGS_ARM: dict[str, int] = {
    "O_CREAT": 0o100,
    "O_EXCL": 0o200,
    "O_NOCTTY": 0o400,
    "O_TRUNC": 0o1000,
    "O_APPEND": 0o2000,
    "O_NONBLOCK": 0o4000,
    "O_DSYNC": 0o10000,
    "O_ASYNC": 0o20000,
    "O_DIRECT": 0o200000,
    "O_LARGEFILE": 0o400000,
    "O_DIRECTORY": 0o40000,
    "O_NOFOLLOW": 0o100000,
    "O_NOATIME": 0o1000000,
    "O_CLOEXEC": 0o2000000,
    "O_SYNC": 0o4010000,
    "O_PATH": 0o10000000,
    "O_TMPFILE": 0o20040000,
}

# Since Linux 5.6; RESOLVE_CACHED since 5.12.
RESOLVE_FLAGS: dict[str, int] = {
    "RESOLVE_NO_XDEV": 1,
    "RESOLVE_NO_MAGICLINKS": 2,
    "RESOLVE_NO_SYMLINKS": 4,
    "RESOLVE_BENEATH": 8,
    "RESOLVE_IN_ROOT": 0x10,
    "RESOLVE_CACHED": 0x20,
}
