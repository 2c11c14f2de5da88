"""A stopped thread that exists only in memory.

It behaves as the real one does (`notifyd.target.thread.StoppedThread`); the same tests run against
both. It knows nothing of calls: who lays arguments out in its memory is in `build`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from notifyd.errors import RuleError, TargetFault, TargetGone
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.limits import MAX_LINKS
from notifyd.target.thread import MAX_READ_BYTES
from notifyd.target.vectors import MAX_STRING

__all__ = ["FakeProcess", "FakeTarget"]

_EXE, _CWD = PurePosixPath("/usr/bin/program"), PurePosixPath("/home/user")


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """Who makes a call: see `notifyd.policy.call.Process`. Everything has a harmless default."""

    pid: int = 1000
    tid: int = 1000
    ppid: int = 1
    exe: PurePosixPath = _EXE
    cmdline: tuple[bytes, ...] = (b"program",)
    cwd: PurePosixPath = _CWD
    uid: int = 1000
    gid: int = 1000
    start: int = 1


class FakeTarget:
    """The target of a call, from values.

    Args:
        memory: bytes by their address. What is not there gives `TargetFault` (EFAULT).
        process: who it is; its `cwd` is where relative paths start.
        directories: the paths of its open descriptors, for `dirfd` and for files by descriptor.
        links: what the symbolic links in its file system say, by their own absolute paths. All
            other paths are no links.

    Attributes:
        memory: as given, with what was written since. A test may change it at any time.
        gone: set it to make every look raise `TargetGone`.
        reads: (address, size or limit) of every read, in their order.
        resolved: (dirfd, pathname, follow) of every path that was resolved.
    """

    def __init__(
        self,
        memory: Mapping[int, bytes] | None = None,
        process: FakeProcess | None = None,
        directories: Mapping[int, str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> None:
        self.memory = dict(memory or {})
        self._process = FakeProcess() if process is None else process
        self.directories = dict(directories or {})
        self.links = {"/proc/self": str(self._process.pid), **(links or {})}
        self.gone = False
        self.reads: list[tuple[int, int]] = []
        self.resolved: list[tuple[int, bytes, bool]] = []

    @property
    def process(self) -> FakeProcess:
        """Whose thread it is."""
        self._check()
        return self._process

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes; TargetFault where there are not so many."""
        self._check()
        if size > MAX_READ_BYTES:
            raise RuleError(f"{size} bytes of memory are too many; at most {MAX_READ_BYTES}")
        self.reads.append((address, size))
        data = self._from(address, size)
        if len(data) < size:
            raise _fault(errno.EFAULT)
        return data

    def read_string(self, address: int, limit: int) -> bytes:
        """A string without its NUL; TargetFault where there is none in `limit` bytes."""
        self._check()
        self.reads.append((address, limit))
        data = self._from(address, limit)
        string, nul, _ = data.partition(b"\0")
        if not nul:
            raise _fault(errno.ENAMETOOLONG if len(data) == limit else errno.EFAULT)
        return string

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """The strings of a vector; TargetFault (E2BIG) beyond what is allowed."""
        found: list[bytes] = []
        left = max_bytes
        while address:
            pointer = int.from_bytes(self.read(address + word * len(found), word), "little")
            if not pointer:
                break
            if len(found) == max_strings or left <= 0:
                if cut:
                    break
                raise _fault(errno.E2BIG)
            try:
                found.append(self.read_string(pointer, min(left, MAX_STRING)))
            except TargetFault as fault:
                if fault.errno == errno.ENAMETOOLONG:
                    raise _fault(errno.E2BIG) from fault
                raise
            left -= len(found[-1]) + 1
        return tuple(found)

    def write(self, address: int, data: bytes) -> None:
        """Write all of `data`; TargetFault where there is no memory."""
        self._check()
        for start, piece in self.memory.items():
            at = address - start
            if at >= 0 and at + len(data) <= len(piece):
                self.memory[start] = piece[:at] + data + piece[at + len(data) :]
                return
        raise _fault(errno.EFAULT)

    def resolve(
        self, dirfd: int, pathname: bytes, follow: bool, *, rooted: bool = False
    ) -> PurePosixPath:
        """The absolute path; TargetFault (EBADF) for a descriptor that is not open."""
        self._check()
        self.resolved.append((dirfd, pathname, follow))
        if rooted:  # as if all of it were there, and no links
            inner = os.path.normpath(b"/" + pathname).lstrip(b"/")
            return PurePosixPath(self._start(dirfd)) / os.fsdecode(inner)
        start = "/" if pathname.startswith(b"/") else self._start(dirfd)
        name = os.fsdecode(pathname)
        return PurePosixPath(self._walk(start, name, follow or name.endswith("/")))

    def is_mount_point(self, path: PurePosixPath) -> bool:  # noqa: ARG002
        """False, since there are no mounts here."""
        return False

    def digest(self, dirfd: int, pathname: bytes, follow: bool) -> str:
        """Empty, since there are no files here. Give `make_call` the digest."""
        self.resolve(dirfd, pathname, follow)
        return ""

    def _check(self) -> None:
        if self.gone:
            raise TargetGone("the target is gone")

    def _from(self, address: int, size: int) -> bytes:
        """What there is from `address` on, `size` bytes at most; pieces may follow each other."""
        found = b""
        while len(found) < size:
            at = address + len(found)
            for start, piece in self.memory.items():
                if start <= at < start + len(piece):
                    found += piece[at - start : at - start + size - len(found)]
                    break
            else:
                break
        return found

    def _start(self, dirfd: int) -> str:
        if dirfd == AT_FDCWD:
            return str(self._process.cwd)
        if dirfd not in self.directories:
            raise _fault(errno.EBADF)
        return self.directories[dirfd]

    def _walk(self, start: str, name: str, follow: bool) -> str:
        here = ""
        todo = [part for part in f"{start}/{name}".split("/") if part not in ("", ".")]
        left = MAX_LINKS
        while todo:
            part = todo.pop(0)
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{part}"
            link = self.links.get(step) if todo or follow else None
            if link is None:
                here = step
                continue
            left -= 1
            if left < 0:
                return f"{start}/{name}"
            here = "" if link.startswith("/") else here
            todo[:0] = [piece for piece in link.split("/") if piece not in ("", ".")]
        return here or "/"


def _fault(number: int) -> TargetFault:
    return TargetFault(os.strerror(number), number)
