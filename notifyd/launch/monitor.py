"""The monitor: a process between us and a command that has a terminal of its own.

It leads the session of that terminal. A command cannot do so itself: a process group whose parents
are all of other sessions is never stopped by the keyboard (setpgid(2), orphaned process groups). So
the monitor is the command's parent, reports its stops and its end, and does what only a member of
the session can: move it to the foreground or background, and give up the terminal.

Owns both ends of the connection. Does not know why the command moves to the foreground (`relay`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from notifyd.kernel import prctl, tty, unix
from notifyd.kernel.signalfd import SignalFd

if TYPE_CHECKING:
    from collections.abc import Callable

    from notifyd.launch.signals import SignalState

__all__ = ["Monitor", "OwnTerminal", "lead", "leads_to"]

# b"P": the command's pid; b"E": an errno instead; b"S": what stopped it; b"H": it has hung up;
# b"X": the status
_NEWS = struct.Struct("=ci")
# b"F": continue in front; b"B": behind; b"K": this signal to it; b"H": hang up; b"Q": quit
_WISH = struct.Struct("=ci")


@dataclass(frozen=True, slots=True)
class OwnTerminal:
    """The terminal that a command is to have. All descriptors stay the caller's.

    Attributes:
        slave: the terminal.
        master: our end of it.
        real: the device number of the terminal that it must not have: the person's.
        front: whether it begins in front of its terminal.
    """

    slave: int
    master: int
    real: int
    front: bool


class Monitor:
    """Our side. Owns the socket, and the monitor until it is waited for.

    Attributes:
        status: the command's, as a shell shows it; None while it runs.
        hung_up: whether the session has no terminal any more.
    """

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self._pid = pid
        self._sock = sock
        self.status: int | None = None
        self.hung_up = False

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._sock.fileno()

    def command(self, patience: float) -> tuple[int, int]:
        """The pid of the command, and a pidfd that the caller owns. Once, and first.

        Raises:
            OSError: the monitor could not make it.
        """
        self._sock.settimeout(patience)
        data, fds, _ = unix.recv_fds(self._sock, _NEWS.size, 1)
        self._sock.setblocking(False)
        if len(data) != _NEWS.size:
            raise OSError("the command's terminal could not be set up")
        _, number = _NEWS.unpack(data)
        if not fds:
            raise OSError(number, os.strerror(number))
        return number, fds[0]

    def news(self) -> int:
        """Take one piece of news without waiting: what is new stands in the attributes.

        Returns:
            The signal that stopped the command; 0 where that is not the news.
        """
        try:
            data = self._sock.recv(_NEWS.size)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            data = b""
        # It ended without a message: it was killed, and the kernel has signalled its session.
        kind, number = _NEWS.unpack(data) if data else (b"X", 128 + signal.SIGKILL)
        if kind == b"S":
            return int(number)
        if kind == b"H":
            self.hung_up = True
        elif self.status is None:
            self.status = number
        return 0

    def go_on(self, *, front: bool) -> None:
        """Continue the command, in front of its terminal or behind."""
        self._wish(b"F" if front else b"B")

    def send(self, number: int) -> None:
        """Send a signal to the command's process group."""
        self._wish(b"K", number)

    def hang_up(self) -> None:
        """Take the terminal from the session, and tell those who were in front of it, and it."""
        self._wish(b"H")

    def _wish(self, kind: bytes, number: int = 0) -> None:
        with contextlib.suppress(OSError):  # it has gone, and the command with it
            self._sock.send(_WISH.pack(kind, number))

    def close(self) -> None:
        """Let the monitor end, and wait for it. Twice is harmless."""
        if self._pid:
            self._wish(b"Q")  # a helper of ours may have a copy of the socket
        self._sock.close()
        pid, self._pid = self._pid, 0
        if pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def lead(
    own: OwnTerminal, sock: socket.socket, signals: SignalState, become: Callable[[], None]
) -> NoReturn:
    """Be the monitor. Called in a child of fork(2) with all signals blocked; never returns.

    Args:
        own: the terminal.
        sock: our end of the talk.
        signals: as they are for the command; ours are set by it.
        become: makes a child of ours the command, and never returns in it.
    """
    try:
        prctl.set_pdeathsig(signal.SIGKILL)  # and the kernel hangs up the session that we lead
        talk = os.dup(sock.fileno())
        os.close(own.master)
        try:
            os.setsid()
            tty.take(own.slave)
            command = _start(own, become)
            unix.send_fds(talk, _NEWS.pack(b"P", command), [pidfd := os.pidfd_open(command)])
            os.close(pidfd)
        except OSError as error:
            unix.send_fds(talk, _NEWS.pack(b"E", error.errno or 0), [])
            os._exit(1)
        prctl.set_dumpable(False)  # a tracer would have our terminal, and could speak for us
        _settle(signals, {talk, own.slave})
        _Leader(talk, own.slave, command).live()
    finally:
        os._exit(1)


def _start(own: OwnTerminal, become: Callable[[], None]) -> int:
    """Fork the command, a process group of its own; with our SIGTTOU blocked, so it may step up."""
    command = os.fork()
    if command:
        with contextlib.suppress(OSError):  # it did so itself, and has executed already
            os.setpgid(command, command)
        return command
    try:
        os.setpgid(0, 0)
        if own.front:
            os.tcsetpgrp(own.slave, os.getpid())
        _exchange(own)
        become()
    finally:
        os._exit(126)


def _exchange(own: OwnTerminal) -> None:
    """Put the new terminal wherever the real one is, however that was opened."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number == own.slave or not leads_to(number, own.real):
            continue
        os.dup2(own.slave, number, inheritable=os.get_inheritable(number))
    os.set_inheritable(own.slave, False)


def leads_to(fd: int, terminal: int) -> bool:
    """Whether a descriptor is the terminal of that device number, however it was opened."""
    try:
        return tty.device(fd) == terminal
    except OSError:  # no terminal, or closed
        return False


def _settle(signals: SignalState, keep: set[int]) -> None:
    """Hold nothing that others wait to be closed, and do at a signal only what is written here."""
    signals.restore_dispositions()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    begin = 0
    for number in [*sorted(keep), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(begin, number)
        begin = number + 1


class _Leader:
    """The monitor's life."""

    def __init__(self, talk: int, slave: int, command: int) -> None:
        self._talk = talk
        self._slave = slave
        self._command = command
        self._front = command  # the foreground group while the command runs in the foreground

    def live(self) -> None:
        """Until notifyd hangs up: after the command's end, others may still use the terminal."""
        ready = select.poll()
        with SignalFd({signal.SIGCHLD}) as children:
            ready.register(children.fileno(), select.POLLIN)
            ready.register(self._talk, select.POLLIN)
            while True:
                self._watch()
                for fd, _ in ready.poll():
                    if fd == self._talk:
                        self._obey()
                    else:
                        children.read()

    def _watch(self) -> None:
        """Tell of every stop and of the end; reap."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid != self._command:
                continue  # the courier
            if os.WIFSTOPPED(status):
                self._stopped(os.WSTOPSIG(status))
                continue
            code = os.waitstatus_to_exitcode(status)
            self._tell(b"X", 128 - code if code < 0 else code)
            self._command = 0

    def _stopped(self, number: int) -> None:
        with contextlib.suppress(OSError):
            group = os.tcgetpgrp(self._slave)
            if group != os.getpgrp():
                self._front = group
                os.tcsetpgrp(self._slave, os.getpgrp())
        self._tell(b"S", number)

    def _tell(self, kind: bytes, number: int) -> None:
        with contextlib.suppress(OSError):
            os.write(self._talk, _NEWS.pack(kind, number))

    def _obey(self) -> None:
        data = os.read(self._talk, _WISH.size)
        kind, number = _WISH.unpack(data) if data else (b"Q", 0)
        if kind == b"K":
            self._group(number)
        elif kind in (b"H", b"Q"):
            self._group(signal.SIGHUP)
            self._group(signal.SIGCONT)
            if kind == b"Q":
                os._exit(0)  # the kernel then tells those in front: disassociate_ctty, drivers/tty
            with contextlib.suppress(OSError):
                tty.give_up(self._slave)
            self._tell(b"H", 0)
        else:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(self._slave, self._front if kind == b"F" else os.getpgrp())
            self._group(signal.SIGCONT)

    def _group(self, number: int) -> None:
        if self._command:  # not reaped yet, so that the number is its own
            with contextlib.suppress(OSError):
                os.killpg(self._command, number)
