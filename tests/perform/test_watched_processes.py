"""A helper ends with the last process that it worked for, and no order is lost by that."""

import os
import socket
import subprocess

import pytest

from notifyd.kernel import pidfd
from notifyd.perform.watched_processes import MAX_WATCHED_PROCESSES, WatchedProcesses


@pytest.fixture
def pair():
    """The supervisor's end of a channel, and the helper's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def start():
    """Start processes that end when they are told to: `start()`, `end(process)`."""
    begun = []

    def starter():
        begun.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
        return begun[-1]

    yield starter
    for process in begun:
        end(process)


def end(process):
    """Let one end, and wait for that."""
    process.stdin.close()
    process.wait()


def test_an_order_is_waited_for_as_long_as_anybody_lives(pair, start):
    """Also after others have ended."""
    ours, theirs = pair
    first, second = start(), start()
    company = WatchedProcesses(theirs, pidfd.open_process(first.pid))
    company.add(second.pid)
    end(first)
    ours.send(b"order")
    company.wait()
    assert theirs.recv(10) == b"order"


def test_with_the_last_one_it_is_over(pair, start):
    """What was sent before is still there; what is sent afterwards fails, and so is sent again."""
    ours, theirs = pair
    one = start()
    company = WatchedProcesses(theirs, pidfd.open_process(one.pid))
    end(one)
    ours.send(b"order")
    company.wait()
    assert theirs.recv(10) == b"order"
    company.wait()
    assert theirs.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        ours.send(b"order")
    theirs.send(b"answer")
    assert ours.recv(10) == b"answer"


def test_there_are_never_many(pair, start, no_fd_left):
    """Those that came first are kept, and one that has ended is none."""
    _, theirs = pair
    one = start()
    company = WatchedProcesses(theirs, pidfd.open_process(one.pid))
    others = [start() for _ in range(MAX_WATCHED_PROCESSES + 1)]
    before = len(os.listdir("/proc/self/fd"))
    for other in others:
        company.add(other.pid)
        company.add(other.pid)
    assert len(os.listdir("/proc/self/fd")) == before + MAX_WATCHED_PROCESSES - 1
    for process in [one, *others[: MAX_WATCHED_PROCESSES - 1]]:
        end(process)
    company.wait()
    for process in others[MAX_WATCHED_PROCESSES - 1 :]:
        end(process)
    assert theirs.recv(1) == b""
    company.add(one.pid)
