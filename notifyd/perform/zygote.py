"""The zygote: a small process with one thread that forks helpers.

The supervisor has threads, a listener and an event loop, and a helper must have none of them. So
the supervisor forks once, this process closes all that it got, and every helper is its child. It
ends when the supervisor does, and all helpers with it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import warnings
from contextlib import suppress
from typing import NoReturn

import msgspec

from notifyd.kernel import pidfd, prctl, unix
from notifyd.kernel.memfd import sealed
from notifyd.perform.helper import serve
from notifyd.perform.placement import HelperPlan

__all__ = ["Zygote"]

_MAX_PLAN_BYTES = 1 << 19  # bytes of a plan: 65,536 groups
_REAP_INTERVAL_MS = 1000  # milliseconds between two looks at children that ended


class Zygote:
    """The supervisor's end. A context manager that ends the process and waits for it."""

    def __init__(self) -> None:
        """Fork. To be called in the main thread.

        Raises:
            OSError: EAGAIN, ENOMEM, EMFILE.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._pid = _fork()
            except OSError:
                ours.close()
                raise
            if not self._pid:
                _live(theirs)
        self._channel = ours

    def make(self, plan: HelperPlan, fds: list[int], channel: socket.socket) -> int:
        """Make a helper; it says on `channel` how that went. Waits some milliseconds.

        Args:
            plan: what it shall be.
            fds: as for `helper.serve`; they stay the caller's, as does the channel.
            channel: the helper's end.

        Returns:
            A pidfd of the helper, which the caller owns.

        Raises:
            OSError: EAGAIN: too many processes. EPIPE: the zygote is gone.
        """
        unix.send_fds(self._channel, msgspec.msgpack.encode(plan), [channel.fileno(), *fds])
        data, got, _ = unix.recv_fds(self._channel, 64, 1)
        if not got:
            number = int(data or b"32")
            raise OSError(number, os.strerror(number))
        return got[0]

    def close(self) -> None:
        """End it, and with it every helper that is left. Twice is harmless."""
        if self._channel.fileno() < 0:
            return
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _fork() -> int:
    """Fork with all signals blocked, so that no handler of the supervisor's runs in the child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    gc.freeze()  # a collection in the child would copy every page that the two share
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns where there are threads. The child takes no lock of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    finally:
        if pid:
            gc.unfreeze()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(channel: socket.socket) -> NoReturn:
    """The zygote's own life, in the child."""
    try:
        signal.set_wakeup_fd(-1)  # the loop's, whose number will be another's
        os.setpgid(0, 0)  # Ctrl-C is for the command
        prctl.set_pdeathsig(signal.SIGKILL)
        os.chdir("/")
        _keep_only(channel.fileno())
        while _make_next(channel):
            pass
    finally:
        os._exit(0)


def _keep_only(kept: int) -> None:
    """Close every other descriptor; 0 to 2 become /dev/null."""
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # where there is no /dev: as empty, and as little to be written
        null = sealed("notifyd-null", b"")
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _make_next(channel: socket.socket) -> bool:
    """Make a helper, if one is asked for soon; False if nobody will ask any more."""
    asked = select.poll()
    asked.register(channel, select.POLLIN)
    ready = asked.poll(_REAP_INTERVAL_MS)
    _reap()
    if not ready:
        return True
    data, fds, _ = unix.recv_fds(channel, _MAX_PLAN_BYTES, 4)
    if not data:
        return False
    try:
        _make(channel, data, fds)
    except OSError as error:
        channel.send(b"%d" % (error.errno or 11))
    finally:
        for fd in fds:
            os.close(fd)
    return True


def _make(channel: socket.socket, data: bytes, fds: list[int]) -> None:
    pid = os.fork()
    if not pid:
        try:
            channel.close()
            plan = msgspec.msgpack.decode(data, type=HelperPlan)
            serve(socket.socket(fileno=fds[0]), plan, fds[1:])
        finally:
            os._exit(0)
    descriptor = pidfd.open_process(pid)  # it is ours to wait for, so the pid is still its
    try:
        unix.send_fds(channel, b"!", [descriptor])
    finally:
        os.close(descriptor)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
