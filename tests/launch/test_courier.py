"""The courier by itself: what becomes of a child when nobody is there to take its listener."""

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from notifyd.kernel import pidfd, prctl, seccomp
from notifyd.launch.courier import send_courier

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


DIES = """
import os, select, signal, sys
sys.path.insert(0, sys.argv[1])
import supervisor
from notifyd.kernel import seccomp
from notifyd.launch import spawn

def die(start, ours, plan):
    if sys.argv[2] == "after":
        ours.recv(256)  # tells of the courier; what comes next is the listener
        select.select([ours], [], [])
    print(start.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

spawn._listen_to = die
spawn.spawn(["true"], supervisor.program("execve"), flags=seccomp.FILTER_FLAG_NEW_LISTENER)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_supervisor_that_is_killed_before_it_took_the_listener(when: str) -> None:
    """Whether the courier has sent it or not: the command fails, and nothing waits for ever."""
    words = [sys.executable, "-c", DIES, str(Path(__file__).parent), when]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, env=env, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    try:
        ended = pidfd.open_process(int(done.stdout))
    except ProcessLookupError:
        return
    try:
        hangs = not select.select([ended], [], [], PATIENCE)[0]
        pidfd.send_signal(ended, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(ended)
    assert not hangs
