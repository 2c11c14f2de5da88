"""Files that are obeyed: nobody who has less power may write them, or put others in their place.

Such a file is opened once, and what was checked is what is read. The way to it is walked from the
root, name after name, each in the folder that is open already: every folder, every link and what it
leads to is checked before it is used, so nobody can change the way behind us. In a folder with the
sticky bit that others may write, they cannot touch what is not theirs; but they can give a second
name there to a file of ours (link(2)), so that one must have no other.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from notifyd.errors import UsageError
from notifyd.kernel import proc
from notifyd.kernel.limits import READ_BYTES

__all__ = ["check_imports", "check_trusted", "open_trusted", "read_trusted"]

MAX_RULE_FILE_BYTES = 1 << 24  # of one file
MAX_TRUSTED_LINKS = 40  # on one way: path_resolution(7)

_AT: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_ACL: Final = "system.posix_acl_access"
_ENTRY = struct.Struct("<HHI")  # linux/posix_acl_xattr.h: tag, permissions, id; after one word
_USER, _GROUP_OBJ, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_WRITE = 0x02


def read_trusted(path: Path | str, *, unmapped: bool = False) -> bytes:
    """Read what is obeyed.

    Args:
        path: relative to the working directory.
        unmapped: take for root's what a user namespace without root shows as nobody's.

    Raises:
        UsageError: somebody else could write it, or put another in its place; or it is too large;
            or there is no /proc.
        OSError: it cannot be opened or read. EINVAL: it is no regular file.
    """
    with open(open_trusted(path, unmapped=unmapped), "rb") as file:
        data = bytearray()
        while piece := file.read(READ_BYTES):
            data += piece
            if len(data) > MAX_RULE_FILE_BYTES:
                raise UsageError(
                    f"{path}: more than {MAX_RULE_FILE_BYTES:,} bytes: too many for what it is"
                )
    return bytes(data)


def check_trusted(path: Path | str, *, unmapped: bool = False) -> None:
    """The same without reading. A file that is not there is somebody else's to report."""
    with suppress(OSError):
        os.close(open_trusted(path, unmapped=unmapped))


def open_trusted(path: Path | str, *, unmapped: bool = False) -> int:
    """Open what is obeyed, for reading; raises as `read_trusted`. The caller owns it."""
    found = _TrustedWalk(os.fspath(path), unmapped).end()
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
        # By its descriptor: no name is looked up again.
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: cannot be read without /proc; mount -t proc proc /proc"
        ) from error
    finally:
        os.close(found)


def check_imports() -> None:
    """See that nobody else can put modules where Python finds them: rule files import them.

    Raises:
        UsageError: somebody can.
    """
    keepers = {0, os.geteuid(), os.stat("/").st_uid}
    named = {Path(name).resolve() for name in sys.path}
    for folder in named | {above for one in named for above in one.parents}:
        try:
            seen = folder.stat()
        except OSError:
            continue
        # The sticky bit does not help where modules are looked for.
        sticky = seen.st_mode & stat.S_ISVTX and folder not in named
        if seen.st_uid not in keepers or (seen.st_mode & stat.S_IWOTH and not sticky):
            raise UsageError(
                f"{folder}: rule files import from there (sys.path), and others may write it: "
                "leave it out of PYTHONPATH"
            )


class _Place(NamedTuple):
    """What a way has come to.

    Attributes:
        fd: open with O_PATH.
        name: its path, for people.
        shared: whether others may make names in it.
        link: where it leads; None if it is no link.
    """

    fd: int
    name: str
    shared: bool
    link: str | None


class _TrustedWalk:
    """The way to one file, and who may be trusted on it."""

    def __init__(self, path: str, unmapped: bool) -> None:
        self._path = path
        ours = {0, os.geteuid()}
        self._of_ways = {*ours, os.stat("/").st_uid}  # root, as a user namespace without it sees it
        self._of_files = self._of_ways if unmapped else ours
        self._links = 0
        self._devices: dict[int, bytes] = {}  # the type of file system of those that were looked at

    def end(self) -> int:
        """Go it to its end, which is open with O_PATH then; the caller owns that."""
        left = os.path.join(os.getcwd(), self._path).split("/")[::-1]
        here = self._root()
        try:
            while left:
                name = left.pop()
                if name in ("", "."):
                    continue
                found = self._step(here, name)
                if found.link is None:
                    found, here = here, found
                os.close(found.fd)
                if found.link is not None:
                    left += self._followed(found.link)
                    if found.link.startswith("/"):
                        found, here = here, self._root()
                        os.close(found.fd)
        except BaseException:
            os.close(here.fd)
            raise
        return here.fd

    def _followed(self, link: str) -> list[str]:
        self._links += 1
        if self._links > MAX_TRUSTED_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        return link.split("/")[::-1]

    def _root(self) -> _Place:
        return self._checked(os.open("/", _AT), "", shared=False)

    def _step(self, here: _Place, name: str) -> _Place:
        found = os.open(name, _AT, dir_fd=here.fd)
        return self._checked(found, os.path.normpath(f"{here.name}/{name}"), shared=here.shared)

    def _checked(self, fd: int, name: str, *, shared: bool) -> _Place:
        try:
            return _Place(fd, name, self._check(fd, name, shared), _link(fd))
        except BaseException:
            os.close(fd)
            raise

    def _check(self, fd: int, name: str, shared: bool) -> bool:
        """See that what is open is nobody else's to change; whether others may make names in it."""
        seen = os.fstat(fd)
        kind = stat.S_IFMT(seen.st_mode)
        if seen.st_uid not in (self._of_files if kind == stat.S_IFREG else self._of_ways):
            self._refuse(name, kind, f"belongs to uid {seen.st_uid}: chown it to root or to us")
        self._check_server(fd, name, seen)
        if kind != stat.S_IFDIR and shared and seen.st_nlink > 1:
            self._refuse(name, kind, "has a second name, which others may have given it: copy it")
        if kind not in (stat.S_IFREG, stat.S_IFDIR) or not _others_write(fd, seen):
            return False
        if kind == stat.S_IFDIR and seen.st_mode & stat.S_ISVTX:  # as /tmp: own names only
            return True
        self._refuse(name, kind, f"others may write it: chmod go-w {name or '/'}")
        return False

    def _check_server(self, fd: int, name: str, seen: os.stat_result) -> None:
        """A file system may be served by a user's process, who then says whose its files are."""
        if os.major(seen.st_dev):  # a disk's
            return
        if seen.st_dev not in self._devices:
            self._devices[seen.st_dev], uid = _mounted(fd)
            if uid not in self._of_ways:
                self._refuse(name, stat.S_IFDIR, f"a file system of uid {uid} is mounted there")
        if self._devices[seen.st_dev] == b"proc" and stat.S_ISLNK(seen.st_mode):
            self._refuse(name, stat.S_IFLNK, "it leads through a process: give the file itself")

    def _refuse(self, name: str, kind: int, why: str) -> None:
        name = name or "/"
        what = {stat.S_IFDIR: "its folder ", stat.S_IFLNK: "its link "}.get(kind, "")
        given = name in (self._path, os.path.abspath(self._path))
        raise UsageError(f"{self._path}: {why}" if given else f"{self._path}: {what}{name}: {why}")


def _link(fd: int) -> str | None:
    """Where a link leads that is open with O_PATH; None for anything else."""
    if not stat.S_ISLNK(os.fstat(fd).st_mode):
        return None
    return os.readlink("", dir_fd=fd)


def _others_write(fd: int, seen: os.stat_result) -> bool:
    """Whether anybody but root and we may write what is open, by its mode or by its ACL."""
    if seen.st_mode & stat.S_IWOTH:
        return True
    if not seen.st_mode & stat.S_IWGRP:  # with an ACL this is its mask: acl(5)
        return False
    try:
        data = os.getxattr(f"/proc/self/fd/{fd}", _ACL)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return not _is_own_group(seen.st_gid)
    entries = _ENTRY.iter_unpack(data[4:])
    return any(_gives(tag, permissions, id_, seen) for tag, permissions, id_ in entries)


def _gives(tag: int, permissions: int, id_: int, seen: os.stat_result) -> bool:
    """Whether an entry lets somebody else write, the mask being in favour."""
    if not permissions & _WRITE:
        return False
    if tag == _USER:
        return id_ not in (0, os.geteuid())
    if tag in (_GROUP, _GROUP_OBJ):
        return not _is_own_group(seen.st_gid if tag == _GROUP_OBJ else id_)
    return False


def _is_own_group(gid: int) -> bool:
    """Whether a group is root's, or has nobody but us: a user's private group, of their name."""
    if gid == 0:
        return True
    import grp
    import pwd

    try:
        own, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == own.pw_gid and group.gr_name == own.pw_name and {*group.gr_mem} <= {own.pw_name}


def _mounted(fd: int) -> tuple[bytes, int]:
    """The type of the file system that a file is on, and the uid that serves it: root's, mostly."""
    number = str(proc.mount_id(fd)).encode()
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            if before.split(b" ", 1)[0] == number:
                kind, _, options = after.split(b" ", 2)
                owner = re.search(rb"(?:^|,)user_id=([0-9]+)", options)
                return kind, int(owner[1]) if owner and kind.startswith(b"fuse") else 0
    return b"", 0
