"""Doing a request: pin its paths, see that they are what the rule saw, make the system call.

Runs in a helper, which has the target's root, namespaces, ids and powers. Every effect goes through
descriptors that were pinned before, so nothing that is renamed or rewritten meanwhile counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from notifyd.kernel import files, mountinfo
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.mounts import MNT_EXPIRE, UMOUNT_NOFOLLOW
from notifyd.perform.apart import as_one_user, mount_anew
from notifyd.perform.helper_request import (
    OPENED,
    ArgumentUse,
    HelperReply,
    HelperRequest,
    LastComponent,
    Need,
    Place,
    Slot,
)
from notifyd.perform.on_socket import SOCKET_CALLS, on_socket
from notifyd.perform.opening import (
    NeedTty,
    check_exists,
    is_tty,
    open_at,
    open_directly,
    open_name,
    open_path,
    open_tty,
)
from notifyd.perform.pin import NeedLook, NeedSelves, Pinner
from notifyd.perform.pinned import Pinned, Unperformable
from notifyd.perform.tasks import ProcAccess

__all__ = ["Executor"]

FUSE_SUPER_MAGIC = (0x65735546).to_bytes(8, "little")  # linux/magic.h
_NO_FLAG = 1 << 31  # that fspick(2) does not know, and refuses before it does anything
Native: TypeAlias = int | bytes | bytearray
_MOUNTING = ("fspick", "move_mount")
_NEEDS = {ProcAccess.ITSELF: Need.LOOK, ProcAccess.BEHIND: Need.BEHIND, ProcAccess.OPEN: Need.OPEN}


class _Moved(Exception):
    """A path means something else than the rule saw."""


class Executor:
    """Does requests, one at a time.

    Args:
        own: the open directory /proc/self/fd, which is also the working directory. Stays the
            caller's.
        tty: the device number of our own controlling terminal, 0 for none, and our session.
        whole: whether the target's real and saved ids are those that we have in effect.
    """

    def __init__(self, own: int, tty: tuple[int, int], *, whole: bool = False) -> None:
        self._own = own
        self._tty = tty
        self._whole = whole

    def run(self, request: HelperRequest, fds: Sequence[int]) -> tuple[HelperReply, int | None]:
        """Do a request.

        Args:
            request: what to do.
            fds: the descriptors that came along; stay the caller's.

        Returns:
            What came of it, and a descriptor for the target, which the caller owns.
        """
        reply, fd = self._run(request, fds)
        if self._whole and self._was_not_ours(request, reply) and _differ_in_ids():
            return as_one_user(partial(self._run, request, fds))
        return reply, fd

    def _run(self, request: HelperRequest, fds: Sequence[int]) -> tuple[HelperReply, int | None]:
        try:
            if request.umask >= 0:
                os.umask(request.umask)
            else:
                found = _at_once(request, fds)
                if found is not None:
                    return found
            looked = {(path, behind): fds[at] for path, behind, at in request.looked}
            with Pinner(self._own, request.selves, looked) as pinner:
                if request.call in ("open", "openat2", "pin"):
                    return OPENED, self._open(request, fds, pinner)
                if request.call in SOCKET_CALLS:
                    there = [one.fd for one in self._all_pinned(request, fds, pinner)]
                    return HelperReply(on_socket(request, fds, *there)), None
                with _limited(request.limit):
                    reply = self._call(request, fds, pinner)
                return (OPENED, reply.value) if request.call == "fspick" else (reply, None)
        except OSError as error:
            return HelperReply(errno=error.errno or errno.EIO), None
        except _Moved:
            return HelperReply(need=Need.MOVED), None
        except (NeedSelves, NeedLook, NeedTty) as wanted:
            return _asked_for(wanted), None
        except (Unperformable, KeyError) as error:
            return HelperReply(need=Need.CANNOT, text=str(error)), None

    def _was_not_ours(self, request: HelperRequest, reply: HelperReply) -> bool:
        """Whether it is what FUSE says to those whose file system it is not; nothing is done then.

        It refuses, but for statfs(2), where it says its type and no more.
        """
        if request.call == "fstatfs" and reply.outs:
            return reply.outs[0][:8] == FUSE_SUPER_MAGIC
        return reply.errno == errno.EACCES and mountinfo.has_fuse(self._own)

    # -- places

    def _pin(self, place: Place, fds: Sequence[int], pinner: Pinner, resolve: int = 0) -> Pinned:
        start = fds[place.start] if place.start >= 0 else AT_FDCWD
        last = place.last
        pinner.begin()
        if last == LastComponent.ITSELF:
            pinned = Pinned(start)
        elif last == LastComponent.NAME:
            pinned = pinner.name(start, place.path)
        elif last in (LastComponent.MADE, LastComponent.MADE_HERE):
            pinned = pinner.made(start, place.path, last == LastComponent.MADE, resolve)
            if place.apart and not _has_no_effect(pinned, last):
                pinned = Pinned(self._there(pinned, pinner, resolve))
        elif last == LastComponent.MOUNTED:
            pinned = pinner.mounted(start, place.path)
        else:
            pinned = Pinned(pinner.thing(start, place.path, last == LastComponent.FOLLOW, resolve))
        if place.seen is None or _has_no_effect(pinned, last):
            return pinned
        if pinner.is_called(pinned, place.seen, place.mounts, apart=place.apart):
            return pinned
        if pinned.name and not stat.S_ISDIR(os.fstat(pinned.fd).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        raise _Moved

    def _there(self, pinned: Pinned, pinner: Pinner, resolve: int) -> int:
        """What has a name already, where nothing may be made."""
        if not pinned.name:
            return pinned.fd
        try:
            return pinner.thing(pinned.fd, pinned.name, False, resolve)
        except FileNotFoundError:
            raise _Moved from None  # the rule saw it there

    # -- any call

    def _all_pinned(
        self, request: HelperRequest, fds: Sequence[int], pinner: Pinner
    ) -> list[Pinned]:
        pinned: list[Pinned] = []
        for place in request.places:
            try:
                pinned.append(self._pin(place, fds, pinner))
            except OSError:
                # mount(2) looks for its target first, and for its source afterwards.
                if request.call in _MOUNTING or (request.call == "mount" and pinned):
                    _check_may_mount()
                raise
        if request.call == "umount2":
            return [self._mount_point(request, pinned[0], pinner)]
        return pinned

    def _mount_point(self, request: HelperRequest, pinned: Pinned, pinner: Pinner) -> Pinned:
        """What umount(2) is given: names that end in a slash or in dots, too, are compared here.

        They make and remove nothing, but they do unmount; and a link that is exchanged for what the
        rule saw would lead to another mount.
        """
        place = request.places[0]
        if place.seen is None or not _has_no_effect(pinned, place.last):
            return pinned
        name = pinned.name.rstrip(b"/")
        found = Pinned(pinned.fd, name)
        if name in (b"", b".", b".."):
            found = pinned
            thing = Pinned(pinner.thing(pinned.fd, pinned.name, True))
        else:
            thing = found  # by its name: whoever opens it touches a mount that is to expire
            if not int(request.args[1]) & MNT_EXPIRE:  # type: ignore[arg-type]
                mode = os.stat(name, dir_fd=pinned.fd, follow_symlinks=False).st_mode
                if stat.S_ISLNK(mode):
                    _check_may_mount()
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                if not stat.S_ISDIR(mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not pinner.is_called(thing, place.seen, place.mounts, apart=place.apart):
            raise _Moved
        return found

    def _call(self, request: HelperRequest, fds: Sequence[int], pinner: Pinner) -> HelperReply:
        pinned = self._all_pinned(request, fds, pinner)
        text = pinner.text(pinned[0].fd) if request.call == "readlinkat" else None
        if text is not None:
            text = text[: int(request.args[3])]  # type: ignore[arg-type]
            return HelperReply(len(text), outs=(text,))
        outs: list[bytearray] = []
        args: list[Native] = []
        elsewhere = False
        for arg in request.args:
            if not isinstance(arg, Slot):
                args.append(arg)
            elif arg.use == ArgumentUse.OWN:
                args.append(fds[arg.index])
            elif arg.use == ArgumentUse.OUT:
                fill = b"" if outs else request.fill
                outs.append(bytearray(fill.ljust(max(arg.index, 1), b"\0")))
                args.append(outs[-1])
            elif arg.use == ArgumentUse.IN_CWD:
                elsewhere = _go_to(pinned[arg.index])
                args.append(pinned[arg.index].name or b"%d" % pinned[arg.index].fd)
            else:
                args += _expanded(arg.use, pinned[arg.index])
        if request.call == "umount2" and not pinned[0].name:  # behind a link of /proc
            args[1] = int(args[1]) & ~UMOUNT_NOFOLLOW
        try:
            value = self._make(request.call, args)
        except OSError as error:
            raise _as_by_path(request, error) from error
        finally:
            if elsewhere:
                os.fchdir(self._own)
        return HelperReply(value, outs=tuple(bytes(one) for one in outs))

    def _make(self, call: str, args: Sequence[Native]) -> int:
        if call != "mount anew":
            return files.call(call, *args)
        _check_may_mount()  # here, and not in a namespace of our own
        return mount_anew(self._own, *args)  # type: ignore[arg-type]

    # -- open

    def _open(self, request: HelperRequest, fds: Sequence[int], pinner: Pinner) -> int:
        if request.call == "pin":
            return os.dup(self._pin(request.places[0], fds, pinner).fd)
        flags, mode, resolve = (int(arg) for arg in request.args)  # type: ignore[arg-type]
        place = request.places[0]
        pinned = self._pin(place, fds, pinner, resolve)
        kept = flags & ~os.O_CREAT
        if pinned.name:
            return self._open_named(request, pinned, kept)
        found = os.fstat(pinned.fd)
        if flags & os.O_CREAT and not flags & os.O_PATH:
            check_exists(found.st_mode, flags)
        if flags & os.O_PATH:
            return open_path(pinned.fd, found.st_mode, flags)
        if is_tty(found):
            return open_tty(request, self._tty, kept)
        if flags & os.O_NOFOLLOW:
            opened = self._open_here(request, fds, pinner, pinned)
            if opened is not None:
                return opened
        try:
            return open_at(AT_FDCWD, b"%d" % pinned.fd, kept & ~os.O_NOFOLLOW, mode)
        except PermissionError:
            pinner.task.check_closed(pinned.fd, flags)
            raise

    def _open_named(self, request: HelperRequest, pinned: Pinned, kept: int) -> int:
        """Open or make a name; what is there may be whoever opens it his own terminal."""
        flags, mode, resolve = (int(arg) for arg in request.args)  # type: ignore[arg-type]
        try:
            fd = open_name(pinned, flags, mode, resolve)
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.EIO):  # we may have none
                raise
            if not is_tty(os.stat(pinned.name, dir_fd=pinned.fd, follow_symlinks=False)):
                raise
        else:
            if not is_tty(os.fstat(fd)):
                return fd
            os.close(fd)
        return open_tty(request, self._tty, kept)

    def _open_here(
        self, request: HelperRequest, fds: Sequence[int], pinner: Pinner, pinned: Pinned
    ) -> int | None:
        """Open what was pinned with O_NOFOLLOW, which fcntl(2) F_GETFL shows; None if not so."""
        flags, mode, resolve = (int(arg) for arg in request.args)  # type: ignore[arg-type]
        found = os.fstat(pinned.fd)
        if stat.S_ISDIR(found.st_mode):
            with contextlib.suppress(PermissionError):  # it may be read, and not searched
                return open_at(pinned.fd, b".", flags & ~os.O_CREAT, mode)
            return None
        here = msgspec.structs.replace(request.places[0], last=LastComponent.MADE_HERE)
        place = self._pin(here, fds, pinner, resolve)
        if not place.name:
            return None
        fd = open_name(place, flags & ~os.O_CREAT, 0, resolve)
        if os.path.samestat(found, os.fstat(fd)):
            return fd
        os.close(fd)
        raise _Moved


def _differ_in_ids() -> bool:
    return len(set(os.getresuid())) > 1 or len(set(os.getresgid())) > 1


def _asked_for(wanted: Exception) -> HelperReply:
    if isinstance(wanted, NeedLook):
        return HelperReply(need=_NEEDS[wanted.how], path=wanted.path)
    return HelperReply(need=Need.SELVES if isinstance(wanted, NeedSelves) else Need.TTY)


@contextlib.contextmanager
def _limited(size: int) -> Iterator[None]:
    """Files do not grow beyond `size` bytes meanwhile; EFBIG, since SIGXFSZ is ignored here."""
    if size < 0:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _go_to(pinned: Pinned) -> bool:
    """Make the directory of a name the working directory; False if there is none."""
    if not pinned.name or pinned.fd == AT_FDCWD:
        return False
    os.fchdir(pinned.fd)
    return True


def _as_by_path(request: HelperRequest, error: OSError) -> OSError:
    """The error that the call gives by a path, where a descriptor gives another."""
    by_path = request.call == "readlinkat" and request.places[0].last != LastComponent.ITSELF
    if by_path and error.errno == errno.ENOENT:
        return OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # it is no link
    return error


def _has_no_effect(pinned: Pinned, last: int) -> bool:
    """Whether a name can have no effect whatever it is: the kernel refuses to make or remove it."""
    if last in (LastComponent.MADE, LastComponent.MADE_HERE) and pinned.name.endswith(b"/"):
        return True  # a file is never made by such a name: EISDIR
    return bool(pinned.name) and pinned.name.rstrip(b"/") in (b"", b".", b"..")


def _expanded(use: int, pinned: Pinned) -> tuple[Native, ...]:
    if use == ArgumentUse.FD:
        return (pinned.fd,)
    if use == ArgumentUse.PATH:
        return (b"%d" % pinned.fd,)
    if pinned.name:
        return pinned.fd, pinned.name
    return AT_FDCWD, b"%d" % pinned.fd  # in /proc/self/fd, where we are


def _at_once(request: HelperRequest, fds: Sequence[int]) -> tuple[HelperReply, int | None] | None:
    """Do what has no path to be pinned; None if it is not that plain."""
    if request.call in SOCKET_CALLS and not request.places:
        return HelperReply(on_socket(request, fds)), None
    opened = open_directly(request, fds) if request.call == "open" else None
    return None if opened is None else (OPENED, opened)


def _check_may_mount() -> None:
    """Raise EPERM if that is what the kernel says before it looks at what else is wrong."""
    try:
        files.call("fspick", AT_FDCWD, b"", _NO_FLAG)
    except PermissionError:
        raise
    except OSError:
        return  # EINVAL: the flag is none
