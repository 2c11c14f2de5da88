"""What a process does about itself.

personality(2), seccomp(2), landlock(7), memfd_create(2), getrandom(2), userfaultfd(2).
From the headers of include/uapi/linux that bear these names.
"""

from __future__ import annotations

__all__ = [
    "LANDLOCK_RULES",
    "MEMFD_FLAGS",
    "PERSONALITY_FLAGS",
    "RANDOM_FLAGS",
    "SECCOMP_FLAGS",
    "SECCOMP_OPERATIONS",
    "USERFAULTFD_FLAGS",
]

# personality(2). The low byte is the execution domain, 0 for Linux.
PERSONALITY_FLAGS: dict[str, int] = {
    "UNAME26": 0x20000,
    "ADDR_NO_RANDOMIZE": 0x40000,
    "FDPIC_FUNCPTRS": 0x80000,
    "MMAP_PAGE_ZERO": 0x100000,
    "ADDR_COMPAT_LAYOUT": 0x200000,
    "READ_IMPLIES_EXEC": 0x400000,
    "ADDR_LIMIT_32BIT": 0x800000,
    "SHORT_INODE": 0x1000000,
    "WHOLE_SECONDS": 0x2000000,
    "STICKY_TIMEOUTS": 0x4000000,
    "ADDR_LIMIT_3GB": 0x8000000,
}

SECCOMP_OPERATIONS: dict[str, int] = {
    "SECCOMP_SET_MODE_STRICT": 0,
    "SECCOMP_SET_MODE_FILTER": 1,
    "SECCOMP_GET_ACTION_AVAIL": 2,
    "SECCOMP_GET_NOTIF_SIZES": 3,
}

SECCOMP_FLAGS: dict[str, int] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 8,
    "SECCOMP_FILTER_FLAG_TSYNC_ESRCH": 16,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}

LANDLOCK_RULES: dict[str, int] = {
    "LANDLOCK_RULE_PATH_BENEATH": 1,
    "LANDLOCK_RULE_NET_PORT": 2,
}

# memfd_create(2); the highest six bits are the size of a huge page, as a power of two.
MEMFD_FLAGS: dict[str, int] = {
    "MFD_CLOEXEC": 1,
    "MFD_ALLOW_SEALING": 2,
    "MFD_HUGETLB": 4,
    "MFD_NOEXEC_SEAL": 8,
    "MFD_EXEC": 0x10,
}

RANDOM_FLAGS: dict[str, int] = {
    "GRND_NONBLOCK": 1,
    "GRND_RANDOM": 2,
    "GRND_INSECURE": 4,
}

USERFAULTFD_FLAGS: dict[str, int] = {
    "UFFD_USER_MODE_ONLY": 1,
    "O_NONBLOCK": 0x800,
    "O_CLOEXEC": 0x80000,
}
