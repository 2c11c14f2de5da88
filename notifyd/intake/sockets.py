"""The daemon's unix sockets: opened where no one else listens, owned, and removed at the end.

Owns the descriptors and the names in the file system. What is said over a socket is not known here.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from notifyd.errors import UsageError
from notifyd.launch.user import gid_of, uid_of

__all__ = ["MAX_SOCKET_PATH_BYTES", "ListeningSockets", "SocketAt", "open_socket"]

MAX_SOCKET_PATH_BYTES = 107  # bytes: sun_path of unix(7), less the NUL at its end
LISTEN_BACKLOG = 1024  # connections that wait to be accepted; the kernel takes at most somaxconn
LOCK_TIMEOUT_S = 5.0  # seconds; another daemon that opens the same socket takes milliseconds
LOCK_RETRY_INTERVAL_S = 0.02  # seconds between two tries


@dataclass(frozen=True, slots=True)
class SocketAt:
    """Where a socket is and who may connect to it.

    Attributes:
        path: absolute; at most 107 bytes.
        type: SOCK_STREAM or SOCK_SEQPACKET.
        mode: permission bits; connecting needs the one to write.
        group: a name or a number; None for ours.
        owner: the same.
    """

    path: str
    type: socket.SocketKind = socket.SOCK_STREAM
    mode: int = 0o660
    group: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    """A socket of ours and the name that it has: the file's device and inode."""

    socket: socket.socket
    path: str
    device: int
    inode: int

    def close(self) -> None:
        # In this order. While the socket is open its inode is not reused, and no daemon that checks
        # first takes the name.
        with suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        self.socket.close()


class ListeningSockets(Mapping[str, socket.socket]):
    """Listening sockets by name. Owns them; a context manager that closes all.

    Those that it made are removed from the file system, if their path still is theirs, and so is a
    directory that it made, if it is empty. Those that were given stay where they are.

    Args:
        wanted: by name; each is made that is not given.
        given: listening already, by name; from systemd. Owned from now on, even if this raises.

    Raises:
        UsageError: one cannot be made. Then nothing is left behind.
    """

    def __init__(
        self, wanted: Mapping[str, SocketAt], given: Mapping[str, socket.socket] | None = None
    ) -> None:
        self._by_name = dict(given or {})
        with ExitStack() as undo:
            for one in self._by_name.values():
                undo.callback(one.close)
            for name, at in wanted.items():
                if name not in self._by_name:
                    self._by_name[name] = _make(at, undo).socket
            self._undo = undo.pop_all()

    def __getitem__(self, name: str) -> socket.socket:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __enter__(self) -> ListeningSockets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all, and remove what was made. Twice is harmless."""
        self._undo.close()


def open_socket(at: SocketAt) -> socket.socket:
    """Make one socket: listening, non-blocking, close-on-exec, with its owner and mode.

    One at which no process listens any more is replaced. The directory is made, 0755, if it alone
    is missing.

    Returns:
        The socket, which the caller owns, as it does the name.

    Raises:
        UsageError: it cannot be made. The text has the path and the remedy.
    """
    with ExitStack() as undo:
        made = _make(at, undo)
        undo.pop_all()
    return made.socket


def _make(at: SocketAt, undo: ExitStack) -> _Made:
    _check(at.path)
    owner, group = _ids(at)
    with ExitStack() as so_far:
        try:
            _make_directory(os.path.dirname(at.path), so_far)
            with _locked(at.path):
                _clear(at)
                made = _bind(at, so_far)
                _hand_to(made, owner, group, at.mode)
                made.socket.listen(LISTEN_BACKLOG)
        except OSError as error:
            raise UsageError(f"cannot open the socket {at.path}: {_remedy(at, error)}") from error
        undo.push(so_far.pop_all())
    return made


def _check(path: str) -> None:
    size = len(os.fsencode(path))
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise UsageError(f"a socket's path has to be absolute and name a file, not {path!r}")
    if size > MAX_SOCKET_PATH_BYTES:
        raise UsageError(
            f"the socket's path {path} is {size} bytes long; {MAX_SOCKET_PATH_BYTES} are possible: "
            f"shorten it"
        )


def _ids(at: SocketAt) -> tuple[int, int]:
    """Owner and group; -1 to leave it as it is."""
    try:
        owner = -1 if at.owner is None else uid_of(at.owner)
        return owner, -1 if at.group is None else gid_of(at.group)
    except UsageError as error:
        raise UsageError(f"cannot open the socket {at.path}: {error}") from error


def _make_directory(directory: str, undo: ExitStack) -> None:
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
        undo.callback(partial(_remove, directory))
        os.chmod(directory, 0o755)  # noqa: S103  # whatever the umask is; all may enter


def _remove(directory: str) -> None:
    with suppress(OSError):  # it is not empty: others use it, too
        os.rmdir(directory)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other daemons from taking the same path, for a moment.

    To check that no process listens, to remove the socket and to make a new one are three steps:
    a second daemon between two of them would remove the first one's socket. The file is ours alone,
    so that no one else can block us, and is removed again.
    """
    name = f"{path}.lock"
    until = time.monotonic() + LOCK_TIMEOUT_S
    while (lock := _lock(name)) is None:
        if time.monotonic() > until:
            raise OSError(errno.EDEADLK, os.strerror(errno.EDEADLK))
        time.sleep(LOCK_RETRY_INTERVAL_S)
    try:
        yield
    finally:
        os.unlink(name)  # before it is unlocked: after that it may be another daemon's
        os.close(lock)


def _lock(name: str) -> int | None:
    """The lock file, locked; None if another daemon has it, or has just removed it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(name, flags, 0o600)
    try:
        os.lockf(lock, os.F_TLOCK, 0)
        if os.path.samestat(os.fstat(lock), os.lstat(name)):
            return lock
    except (BlockingIOError, PermissionError, FileNotFoundError):  # EACCES too, lockf(3)
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _clear(at: SocketAt) -> None:
    """Remove a socket at which no process listens.

    Raises:
        UsageError: something else is there.
        OSError: it is unknown whether a process listens.
    """
    try:
        mode = os.lstat(at.path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"the socket's path {at.path} is a directory: name a file in it")
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"the file at {at.path} is not a socket: remove it, or choose another path"
        )
    if _somebody_listens(at):
        raise UsageError(
            f"the socket {at.path} is in use: stop who listens there, or choose another path"
        )
    os.unlink(at.path)


def _somebody_listens(at: SocketAt) -> bool:
    with socket.socket(socket.AF_UNIX, at.type) as probe:
        probe.setblocking(False)
        try:
            probe.connect(at.path)
        except ConnectionRefusedError:
            return False
        except OSError as error:
            # EAGAIN: so many wait already. EPROTOTYPE: a live socket of another type.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    return True


def _bind(at: SocketAt, undo: ExitStack) -> _Made:
    """The socket with its name; closed to everybody, since it does not listen yet."""
    ours = undo.enter_context(socket.socket(socket.AF_UNIX, at.type))
    ours.setblocking(False)
    # unix(7) takes the mode of the file from that of the socket: no umask to set for all threads.
    os.fchmod(ours.fileno(), 0)
    ours.bind(at.path)
    found = os.lstat(at.path)
    made = _Made(ours, at.path, found.st_dev, found.st_ino)
    undo.callback(made.close)
    return made


def _hand_to(made: _Made, owner: int, group: int, mode: int) -> None:
    """Give the file its owner and mode, and no other file that took its name meanwhile."""
    handle = os.open(made.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if (found.st_dev, found.st_ino) != (made.device, made.inode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.chown(f"/proc/self/fd/{handle}", owner, group)
        os.chmod(f"/proc/self/fd/{handle}", mode)
    finally:
        os.close(handle)


def _remedy(at: SocketAt, error: OSError) -> str:
    directory = os.path.dirname(at.path)
    if error.errno == errno.ENOENT:
        return f"make the directory above {directory} first"
    if error.errno == errno.ENOTDIR:
        return f"{directory} is not a directory: choose another path"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission in {directory}: run as root, or choose a path and group of your own"
    if error.errno == errno.EROFS:
        return f"{directory} is read-only: choose another path, or ReadWritePaths= in a drop-in"
    if error.errno == errno.EDEADLK:
        return f"another daemon has been opening it for {LOCK_TIMEOUT_S:.0f} seconds: stop that one"
    return f"{(error.strerror or str(error)).lower()}: mend that, or choose another path"
