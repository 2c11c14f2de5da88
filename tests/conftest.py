"""What tests of every folder may use."""

import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest
import trio
from hypothesis import HealthCheck, settings

from notifyd.kernel import arch, prctl, seccomp, unix

# How fast inputs are made on a busy machine is no property of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

PATIENCE = 20.0  # seconds; what a test waits at most


def pytest_configure() -> None:
    """Have the signals that tests send: a shell that starts us in the background ignores some."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            python = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if python else signal.SIG_DFL)


def _open() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture
def no_fd_left() -> Iterator[None]:
    """Fail a test that ends with other descriptors than it began with."""
    before = _open().keys()
    yield
    after = _open()
    assert {fd: after[fd] for fd in after.keys() - before} == {}, sys.version


def _program(names: tuple[str, ...], action: int) -> bytes:
    """Return BPF that answers these native calls with an action and allows all others."""
    rows = [(0x20, 0, 0, 0)]  # load the number
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        rows.append((0x15, left, 0, arch.native().numbers[name]))
    rows += [(0x06, 0, 0, seccomp.RET_ALLOW), (0x06, 0, 0, action)]
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


@pytest.fixture
def program_for() -> Callable[..., bytes]:
    """Make BPF for native calls: `program_for("getppid", action=...)`."""
    return lambda *names, action=seccomp.RET_USER_NOTIF: _program(names, action)


KILLABLE = seccomp.FILTER_FLAG_NEW_LISTENER | seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV


class Child:
    """A child of ours behind a filter, which runs a function and exits with its result."""

    def __init__(self, work: Callable[[], int], program: bytes, flags: int) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.pid = os.fork()
            if not self.pid:
                self._become(theirs, work, program, flags)
            _, (self.listener,), _ = unix.recv_fds(ours, 1, 1)

    @staticmethod
    def _become(end: socket.socket, work: Callable[[], int], program: bytes, flags: int) -> None:
        status = 99
        try:
            prctl.set_no_new_privs()
            prctl.set_pdeathsig(signal.SIGKILL)
            listener = seccomp.install(program, flags)
            unix.send_fds(end.fileno(), b"!", [listener])
            os.close(listener)
            status = work()
        finally:
            os._exit(status)

    async def status(self) -> int:
        """Wait for it to end; its exit status, negative for a signal."""
        with trio.fail_after(PATIENCE):
            descriptor = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Kill and reap it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


@pytest.fixture
def start_child() -> Iterator[Callable[..., Child]]:
    """Start a child behind a filter: `start_child(work, program)`. Its listener is the caller's."""
    with contextlib.ExitStack() as stack:

        def start(work: Callable[[], int], program: bytes, flags: int = KILLABLE) -> Child:
            child = Child(work, program, flags)
            stack.callback(child.close)
            return child

        yield start
