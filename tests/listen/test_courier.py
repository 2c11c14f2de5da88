"""The courier by itself: what becomes of a child when nobody is there to take its listener."""

import errno
import os
import select
import signal
import socket
from collections.abc import Callable

import pytest

from notifyd.kernel import pidfd, prctl, seccomp
from notifyd.listen.courier import send_courier

PATIENCE = 20.0  # seconds


@pytest.fixture
def child(program: Callable[[str], bytes]) -> Callable[[], int]:
    """Make a child that traps uname(2) and whose supervisor has died; returns what that gave."""

    def orphan() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.close()
        prctl.set_no_new_privs()
        send_courier(theirs.fileno())
        seccomp.install(program("uname"), seccomp.FILTER_FLAG_NEW_LISTENER)
        try:
            os.uname()
        except OSError as error:
            os._exit(error.errno or 0)

    def maker() -> int:
        pid = os.fork()
        if not pid:
            try:
                orphan()
            finally:
                os._exit(0)
        ended = pidfd.open_process(pid)
        try:
            hangs = not select.select([ended], [], [], PATIENCE)[0]
        finally:
            os.close(ended)
            os.kill(pid, signal.SIGKILL)  # nothing happens to one that has ended
            status = os.waitpid(pid, 0)[1]
            os.wait()  # the courier, which is a child of ours and sees that the other has ended
        assert not hangs
        return os.waitstatus_to_exitcode(status)

    return maker


def test_a_child_whose_supervisor_has_died_does_not_wait_for_it(child: Callable[[], int]) -> None:
    """Not even for the one that died before it had the listener: what is trapped is ENOSYS."""
    assert child() == errno.ENOSYS
