"""Doing at once, in the supervisor itself, what cannot wait: opening and asking about cached files.

Only for targets whose root, namespaces, ids and powers are the supervisor's own, so that its own
walk is theirs. A walk here never leaves the kernel's cache (RESOLVE_CACHED), is never led through a
magic link, and counts only on a file system of this machine: one that somebody serves could hold up
everybody. Whatever is not plain is for a helper: these functions return None.
"""

from __future__ import annotations

import errno
import os
import stat

from notifyd.kernel import files, mountinfo
from notifyd.kernel.files import AT_FDCWD, PATH_FLAGS
from notifyd.kernel.openat2 import (
    RESOLVE_CACHED,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from notifyd.perform.helper_request import HelperReply, HelperRequest, LastComponent
from notifyd.perform.opening import UNUSUAL_OPEN_FLAGS

__all__ = ["Inline"]

_CACHED = RESOLVE_CACHED | RESOLVE_NO_MAGICLINKS
_QUICK = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
PLAIN_PATH_CACHE_SIZE = 8192  # paths
_FINAL = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG)


class Inline:
    """Owns a descriptor of /proc/self/fd."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._local = mountinfo.LocalDevices()
        self._plain: set[bytes] = set()  # absolute paths of files on the root file system
        self._root_is_local = os.stat("/").st_dev in self._local

    def close(self) -> None:
        """Close what is owned. Twice is harmless."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    def mounts_changed(self) -> None:
        """Forget what is known of file systems."""
        self._local.forget()
        self._plain.clear()

    def run(self, request: HelperRequest, start: int) -> tuple[HelperReply, int | None] | None:
        """Do a request, if that is one of the few.

        Args:
            request: with one place.
            start: the descriptor of its place's start, or -1.

        Returns:
            None if a helper has to do it, otherwise as `Executor.run`.
        """
        if request.places[0].apart:
            return None
        if request.call == "open":
            return self._open(request, start)
        if request.call == "pin":
            return self._keep(request, start)
        if request.call not in ("statx", "faccessat2", "readlinkat"):
            return None
        if request.places[0].last not in (LastComponent.FOLLOW, LastComponent.NOFOLLOW):
            return None
        return self._look(request, start)

    def open(
        self, path: bytes, start: int, flags: int, seen: bytes | None = None
    ) -> tuple[int, int] | None:
        """Open an existing file.

        Args:
            path: as the target gave it; `start` is where it starts, -1 if it is absolute.
            start: see above.
            flags: of open(2), none of those that make, cut or only name a file.
            seen: the name that it has to have, if a rule judged by that.

        Returns:
            A descriptor and 0, -1 and an errno, or None if a helper has to do it.
        """
        if path in self._plain and seen is None and self._root_is_local:
            found = self._open_directly(path, flags)
            if found is not None:
                return found
        try:
            fd = self._pin(path, start, not flags & os.O_NOFOLLOW)
            if fd is None:
                return None
            try:
                opened = self._reopen(fd, flags) if self._named(seen, fd) else None
            finally:
                os.close(fd)
        except BlockingIOError:
            return None
        except OSError as error:
            return -1, error.errno or errno.EIO
        if opened is None:
            return None
        if start < 0:
            self._remember(path)
        if not flags & os.O_NONBLOCK:
            os.set_blocking(opened, True)
        return opened, 0

    def _reopen(self, fd: int, flags: int) -> int | None:
        """Open what was pinned, if it is plain; None where F_GETFL could not tell of O_NOFOLLOW.

        Not blocking: somebody may hold a lease on the file, fcntl(2) F_SETLEASE.
        """
        if not _is_plain(fd):
            return None
        if not flags & os.O_NOFOLLOW:
            return os.open(str(fd), flags | os.O_NONBLOCK, dir_fd=self._own)
        try:
            return os.open(".", flags | os.O_NONBLOCK, dir_fd=fd)
        except (NotADirectoryError, PermissionError):
            return None

    def _open_directly(self, path: bytes, flags: int) -> tuple[int, int] | None:
        """Open in one walk what was a plain file the last time; None if it is not any more.

        To open first and look then is harmless here: it never waits (O_NONBLOCK), and has no effect
        on anything but FIFOs and devices, which a path that was a file is changed to on purpose.
        """
        try:
            fd = openat2(AT_FDCWD, path, flags | _QUICK, 0, _CACHED | RESOLVE_NO_XDEV)
        except OSError:
            self._plain.discard(path)
            return None
        if not _is_plain(fd):
            self._plain.discard(path)
            os.close(fd)
            return None
        if not flags & os.O_NONBLOCK:
            os.set_blocking(fd, True)
        return fd, 0

    def _remember(self, path: bytes) -> None:
        if len(self._plain) >= PLAIN_PATH_CACHE_SIZE:
            self._plain.clear()
        self._plain.add(path)

    def _open(self, request: HelperRequest, start: int) -> tuple[HelperReply, int | None] | None:
        flags: int = request.args[0]  # type: ignore[assignment]
        if flags & UNUSUAL_OPEN_FLAGS:
            return None
        found = self.open(request.places[0].path, start, flags, request.places[0].seen)
        if found is None:
            return None
        return HelperReply(errno=found[1]), found[0] if found[0] >= 0 else None

    def _keep(self, request: HelperRequest, start: int) -> tuple[HelperReply, int | None] | None:
        place = request.places[0]
        try:
            if place.last == LastComponent.ITSELF:
                fd: int | None = os.dup(start)
            else:
                fd = self._pin(place.path, start, place.last == LastComponent.FOLLOW)
        except OSError as error:
            return HelperReply(errno=error.errno or errno.EIO), None
        if fd is None or self._named(place.seen, fd):
            return None if fd is None else (HelperReply(), fd)
        os.close(fd)
        return None

    def _look(self, request: HelperRequest, start: int) -> tuple[HelperReply, int | None] | None:
        place = request.places[0]
        try:
            fd = self._pin(place.path, start, place.last == LastComponent.FOLLOW)
            if fd is None:
                return None
        except OSError as error:
            return HelperReply(errno=error.errno or errno.EIO), None
        try:
            return self._ask(request, fd) if self._named(place.seen, fd) else None
        except OSError as error:
            return HelperReply(errno=error.errno or errno.EIO), None
        finally:
            os.close(fd)

    def _ask(self, request: HelperRequest, fd: int) -> tuple[HelperReply, int | None] | None:
        if request.call == "faccessat2":
            wanted: int = request.args[1]  # type: ignore[assignment]
            files.call("faccessat", self._own, b"%d" % fd, wanted)
            return HelperReply(), None
        if request.call == "readlinkat":
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return HelperReply(errno=errno.EINVAL), None
            size: int = request.args[3]  # type: ignore[assignment]
            text = os.readlink(b"", dir_fd=fd)[:size]
            return HelperReply(len(text), outs=(text,)), None
        buffer = bytearray(files.STATX_SIZE)
        flags: int = request.args[2]  # type: ignore[assignment]
        mask: int = request.args[3]  # type: ignore[assignment]
        files.call("statx", fd, b"", flags, mask, buffer)
        return HelperReply(outs=(bytes(buffer),)), None

    def _pin(self, path: bytes, start: int, follow: bool) -> int | None:
        """An O_PATH descriptor of a local file; None if it has to be looked for elsewhere.

        Raises:
            OSError: the final answer.
        """
        absolute = start < 0
        if absolute and not self._root_is_local:
            return None
        flags = PATH_FLAGS if follow else PATH_FLAGS | os.O_NOFOLLOW
        try:
            fd = openat2(start, path, flags, resolve=_CACHED | RESOLVE_NO_XDEV)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return self._pin_beyond(path, start, flags)
            if error.errno in _FINAL and (absolute or self._device_is_local(start)):
                raise
            return None
        return fd if absolute else self._if_local(fd)

    def _pin_beyond(self, path: bytes, start: int, flags: int) -> int | None:
        """The same over the borders of file systems; where it fails, a helper finds out why."""
        try:
            return self._if_local(openat2(start, path, flags, resolve=_CACHED))
        except OSError:
            return None

    def _if_local(self, fd: int) -> int | None:
        if self._device_is_local(fd):
            return fd
        os.close(fd)
        return None

    def _named(self, seen: bytes | None, fd: int) -> bool:
        """Whether a pinned file has the name that the rule judged; a helper says if it has not."""
        if seen is None:
            return True
        try:
            return os.fsencode(os.readlink(str(fd), dir_fd=self._own)) == seen
        except OSError:  # ENAMETOOLONG
            return False

    def _device_is_local(self, fd: int) -> bool:
        return mountinfo.device(fd) in self._local


def _is_plain(fd: int) -> bool:
    kind = os.fstat(fd).st_mode & 0o170000
    return kind == stat.S_IFREG or kind == stat.S_IFDIR
