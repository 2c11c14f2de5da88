"""What a case is written in, and what becomes of it for probe.c.

A case is its own name: steps with `;` between, each a system call by name and its arguments. Words
that are names (`O_CREAT|O_EXCL`) or numbers (0644 is octal) become numbers here; all others are for
the probe, whose head says what they mean.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat

from notifyd.kernel.arch import native

OWN = {
    "AT_FDCWD": -100, "AT_SYMLINK_NOFOLLOW": 0x100, "AT_REMOVEDIR": 0x200, "AT_EACCESS": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400, "AT_NO_AUTOMOUNT": 0x800, "AT_EMPTY_PATH": 0x1000,
    "AT_FORCE_SYNC": 0x2000, "AT_DONT_SYNC": 0x4000, "O_TMPFILE_BIT": 0o20000000,
    "RENAME_NOREPLACE": 1, "RENAME_EXCHANGE": 2, "RENAME_WHITEOUT": 4,
    "RESOLVE_NO_XDEV": 1, "RESOLVE_NO_MAGICLINKS": 2, "RESOLVE_NO_SYMLINKS": 4,
    "RESOLVE_BENEATH": 8, "RESOLVE_IN_ROOT": 16, "RESOLVE_CACHED": 32,
    "CLONE_NEWNS": 0x20000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWNET": 0x40000000, "CLONE_FS": 0x200, "CLONE_FILES": 0x400,
    "MS_RDONLY": 1, "MS_NOSUID": 2, "MS_NODEV": 4, "MS_NOEXEC": 8, "MS_REMOUNT": 32,
    "MS_BIND": 0x1000, "MS_MOVE": 0x2000, "MS_REC": 0x4000, "MS_PRIVATE": 1 << 18,
    "MS_UNBINDABLE": 1 << 17, "MS_SLAVE": 1 << 19, "MS_SHARED": 1 << 20,
    "MS_MGC_VAL": 0xC0ED0000,
    "MNT_FORCE": 1, "MNT_DETACH": 2, "MNT_EXPIRE": 4, "UMOUNT_NOFOLLOW": 8,
    "STATX_BASIC": 0x7FF, "STATX_ALL": 0xFFF, "RLIMIT_FSIZE": 1, "UTIME_NOW": 0x3FFFFFFF,
    "UTIME_OMIT": 0x3FFFFFFE, "MAX": 2**64 - 1, "SCHED_OTHER": 0, "SCHED_BATCH": 3,
    "SCHED_IDLE": 5, "SCHED_FIFO": 1, "F_OK": 0, "XATTR_CREATE": 1, "XATTR_REPLACE": 2,
}  # fmt: skip


def value(name: str) -> int:
    """The number behind a name, or a number's own text."""
    if name in OWN:
        return OWN[name]
    if re.fullmatch(r"-?\d+", name):
        return int(name, 8) if re.fullmatch(r"0[0-7]+", name) else int(name)
    for module in (os, stat, socket, signal):
        if hasattr(module, name):
            return int(getattr(module, name))
    raise KeyError(name)


def word(text: str) -> str:
    """One argument as the probe takes it."""
    if re.match(r"[A-Z0-9-]", text):
        number = 0
        for name in text.split("|"):
            number |= value(name)
        return f"i{number}"
    return text


def step(text: str) -> str:
    """One step as the probe takes it."""
    first, *rest = text.split()
    if first in ("full", "group", "got"):
        return " ".join([first, *rest])
    mark = first[0] if first.startswith("!") else ""
    number = native().numbers[first.removeprefix("!")]
    return " ".join([f"{mark}{number}", *map(word, rest)])


def line(case: str) -> str:
    """A case as the probe takes it."""
    return ";".join(step(one) for one in case.split(";"))


def packed(*numbers: int, size: int = 8) -> str:
    """Numbers in memory, as an argument."""
    data = b"".join((number % (1 << 8 * size)).to_bytes(size, "little") for number in numbers)
    return "b" + "".join(f"%{byte:02X}" for byte in data)
