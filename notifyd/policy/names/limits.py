"""setrlimit(2), quotactl(2), capset(2): what a process may use.

From include/uapi/asm-generic/resource.h, linux/quota.h and linux/capability.h.
"""

from __future__ import annotations

__all__ = ["CAPABILITY_VERSIONS", "QUOTA_COMMANDS", "QUOTA_TYPES", "RESOURCES"]

RESOURCES: dict[str, int] = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

# The argument holds the command above, and the type of quota in its low eight bits.
QUOTA_COMMANDS: dict[str, int] = {
    "Q_SYNC": 0x00800001,
    "Q_QUOTAON": 0x00800002,
    "Q_QUOTAOFF": 0x00800003,
    "Q_GETFMT": 0x00800004,
    "Q_GETINFO": 0x00800005,
    "Q_SETINFO": 0x00800006,
    "Q_GETQUOTA": 0x00800007,
    "Q_SETQUOTA": 0x00800008,
    "Q_GETNEXTQUOTA": 0x00800009,
}

QUOTA_TYPES: dict[str, int] = {
    "USRQUOTA": 0,
    "GRPQUOTA": 1,
    "PRJQUOTA": 2,
}

CAPABILITY_VERSIONS: dict[str, int] = {
    "_LINUX_CAPABILITY_VERSION_1": 0x19980330,
    "_LINUX_CAPABILITY_VERSION_2": 0x20071026,
    "_LINUX_CAPABILITY_VERSION_3": 0x20080522,
}
