"""A child under a real filter, and a watch on descriptors."""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from notifyd.kernel import prctl, seccomp, unix
from notifyd.kernel.unotify import Notifier

RELEASE = 20.0  # seconds; what a test waits at most for the kernel to report something


@dataclass
class Stopped:
    """A child of ours, the listener of its filter, and a notifier on that."""

    pid: int
    listener: int
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.notifier = Notifier(self.listener)

    def notification(self) -> tuple[int, ...]:
        """Wait until the child is stopped in a call; return the unpacked notification."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        events = poll.poll(RELEASE * 1000)
        assert events
        assert events[0][1] & select.POLLIN
        return self.notifier.receive()

    def status(self) -> int:
        """Wait for the child; return its exit status, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Kill and reap the child, close the listener."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.listener)


def _child(end: socket.socket, work: Callable[[], int], program: bytes, flags: int) -> None:
    status = 99
    try:
        prctl.set_no_new_privs()
        prctl.set_pdeathsig(signal.SIGKILL)
        listener = seccomp.install(program, seccomp.FILTER_FLAG_NEW_LISTENER | flags)
        unix.send_fds(end.fileno(), b"!", [listener])
        os.close(listener)
        status = work()
    finally:
        os._exit(status)


@pytest.fixture
def stopped(program_for: Callable[..., bytes]) -> Iterator[Callable[..., Stopped]]:
    """Start children whose named native calls stop; always reaped.

    `stopped(work, "getppid")` runs work() in the child, which exits with what it returns; `flags`
    are of its filter.
    """
    with contextlib.ExitStack() as stack:

        def start(
            work: Callable[[], int] = lambda: int(os.getppid() == 7), *names: str, flags: int = 0
        ) -> Stopped:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                pid = os.fork()
                if not pid:
                    _child(theirs, work, program_for(*(names or ("getppid",))), flags)
                _, (listener,), _ = unix.recv_fds(ours, 1, 1)
            child = Stopped(pid, listener)
            stack.callback(child.close)
            return child

        yield start


@pytest.fixture
def fork() -> Callable[[Callable[[], int]], int]:
    """Start a child, which has one thread: `fork(work)` is its pid; it exits with the result."""

    def run(work: Callable[[], int]) -> int:
        pid = os.fork()
        if not pid:
            status = 99
            try:
                status = work()
            finally:
                os._exit(status)
        return pid

    return run


@pytest.fixture
def in_child(fork: Callable[[Callable[[], int]], int]) -> Callable[[Callable[[], int]], int]:
    """Run a function in such a child to its end: `in_child(work)` is what it returned."""

    def run(work: Callable[[], int]) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1])

    return run


@pytest.fixture(autouse=True)
def every_descriptor_is_closed(no_fd_left: None) -> None:
    """See `no_fd_left`."""
