"""Trees of files: `trees.py grow DIR` makes one, `trees.py show DIR` prints all that one holds.

One that is grown has every type of file, odd names, modes, times and attributes; as root also
owners, devices, and attributes that only root may set.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

SPARSE = 4 << 20  # bytes of the sparse file, most of them a hole
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep


def grow(top: Path) -> None:
    top.mkdir()
    here = os.fsencode(top) + b"/"
    _files(here)
    _others(here)
    os.setxattr(here + b"plain", "user.colour", b"blue\0green")
    os.setxattr(here + b"d", "user.big", b"v" * 100)
    if os.geteuid() == 0:
        _belongings(here)
    _modes(here)
    _times(top)


def _files(here: bytes) -> None:
    os.makedirs(here + b"d/e/f")
    os.mkdir(here + b"d/\xe9")
    os.mkdir(here + b"empty")
    for name, data in {
        b"plain": b"x" * 1000,
        b"d/exec": b"#!/bin/sh\n",
        b"d/odd": b"",
        b"bad\xff\xfename": b"not UTF-8",
        b"d/\xe9/\x01 new\nline": b"",
        b"locked": b"nobody may",
    }.items():
        Path(os.fsdecode(here + name)).write_bytes(data)
    with open(here + b"sparse", "wb") as file:
        file.truncate(SPARSE)
        file.seek(SPARSE // 2)
        file.write(b"middle")


def _others(here: bytes) -> None:
    os.symlink("plain", here + b"link")
    os.symlink(b"no/\xfe/where", here + b"dangling")
    os.symlink("d", here + b"way")
    os.link(here + b"plain", here + b"d/hard")
    os.link(here + b"link", here + b"d/hardlink", follow_symlinks=False)
    os.mkfifo(here + b"fifo")
    os.mknod(here + b"socket", stat.S_IFSOCK | 0o700)


def _belongings(here: bytes) -> None:
    os.mknod(here + b"null", stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(here + b"block", stat.S_IFBLK, os.makedev(7, 200))
    os.chown(here + b"plain", 1234, 4321)
    os.lchown(here + b"link", 12, 34)
    os.chown(here + b"d/e", 0, 99)
    os.setxattr(here + b"dangling", "trusted.t", b"1", follow_symlinks=False)
    os.setxattr(here + b"d/exec", "security.capability", CAPABILITY)


def _modes(here: bytes) -> None:
    for name, mode in {
        b"d/exec": 0o755,
        b"d/odd": 0o4751,
        b"d/e": 0o3770,
        b"empty": 0o500,
        b"locked": 0,
        b"fifo": 0o640,
        b"socket": 0o702,
    }.items():
        os.chmod(here + name, mode)


def _times(top: Path) -> None:
    """Times with nanoseconds, before and after 1970; of folders last, since they change."""
    for folder, folders, files in os.walk(os.fsencode(top), topdown=False):
        for at, name in enumerate([*sorted(folders + files), b"."]):
            times = 1_000_000_000_123_456_789 + at, -987_654_321_000_000_001 + at * 7_000_001
            os.utime(folder + b"/" + name, ns=times, follow_symlinks=False)


def show(top: Path) -> None:
    """Print a line for each file: two trees are equal if their lines are."""
    rows: dict[bytes, tuple[Any, ...]] = {}
    same: dict[int, list[bytes]] = {}
    start = os.fsencode(top)
    for folder, folders, files in os.walk(start):
        for name in [*folders, *files, b"."]:
            path = os.path.normpath(folder + b"/" + name)
            status = os.lstat(path)
            relative = os.path.relpath(path, start)
            rows[relative] = (_said(status), _attributes(path), _content(path, status))
            same.setdefault(status.st_ino, []).append(relative)
    for names in same.values():
        for name in names:
            rows[name] += (sorted(set(names)),)
    for name, row in sorted(rows.items()):
        print(name, *row)


def _said(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_nlink,
        status.st_mtime_ns,
    )  # fmt: skip


def _attributes(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _content(path: bytes, status: os.stat_result) -> object:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    data = Path(os.fsdecode(path)).read_bytes() if os.access(path, os.R_OK) else b""
    return status.st_size, status.st_blocks * 512 >= status.st_size, hashlib.sha1(data).hexdigest()


if __name__ == "__main__":
    {"grow": grow, "show": show}[sys.argv[1]](Path(sys.argv[2]))
