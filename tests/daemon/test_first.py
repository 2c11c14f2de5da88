"""By which process a workload is known, and what is made of numbers that peers name."""

import os
import subprocess

import pytest

from notifyd.daemon.belonging import part_of
from notifyd.daemon.first import FirstProcess, first_of, is_ours, start_of, surroundings
from notifyd.intake.arrival import Arrival, Peer
from notifyd.intake.lxc import LXC
from notifyd.intake.oci import OCI


class Known:
    """A workload, as far as `part_of` looks at it."""

    def __init__(self, first, key):
        self.first, self.key = first, key


@pytest.fixture
def process():
    """A process of ours."""
    with subprocess.Popen(["sleep", "60"]) as found:
        yield found
        found.kill()


def _arrival(init, *, near=True, pid=0, kind=OCI, cookie=""):
    peer = Peer(os.getpid(), os.getuid(), 0, "test", near=near)
    return Arrival(kind, peer, "c1", -1, pid=pid, init=init, joins=True, metadata=cookie)


def _key(kind=OCI, cookie=""):
    return kind, os.getuid(), "c1", cookie


def test_a_pid_that_is_used_again(process):
    """The same number with another start is another process."""
    arrival = _arrival(process.pid)
    first = first_of(arrival)
    assert first == (process.pid, start_of(process.pid))
    same, older = Known(first, _key()), Known(FirstProcess(process.pid, first.start - 1), _key())
    assert part_of(arrival, [older, same]) is same
    assert part_of(arrival, [older]) is None
    assert part_of(arrival, [same, Known(first, _key())]) is None  # nobody can say which


def test_a_cookie_tells_apart(process):
    """Of LXC's containers."""
    known = Known(FirstProcess(process.pid, start_of(process.pid)), _key(LXC, "a"))
    assert part_of(_arrival(process.pid, kind=LXC, cookie="a"), [known]) is known
    assert part_of(_arrival(process.pid, kind=LXC, cookie="b"), [known]) is None


@pytest.mark.parametrize("near", [False, None])
def test_numbers_of_elsewhere(process, near):
    """Nobody's: of a peer in another pid namespace, or of one that has ended and could be there."""
    assert not is_ours(process.pid, Peer(1, 0, 0, "x", near=near))
    assert first_of(_arrival(process.pid, near=near)) is None


@pytest.mark.root
def test_where_a_process_lives():
    """Namespaces and root of one in a mount namespace of its own; nothing of one in ours."""
    assert surroundings(os.getpid()) is None
    with subprocess.Popen(["unshare", "--mount", "cat"], stdin=subprocess.PIPE) as one:
        while surroundings(one.pid) is None and one.poll() is None:
            os.sched_yield()
        found, start = surroundings(one.pid), start_of(one.pid)
        assert found == surroundings(one.pid, start)
        assert surroundings(one.pid, start + 1) is None
        other = ["nsenter", "--mount", f"--target={one.pid}", "cat"]
        with subprocess.Popen(other, stdin=subprocess.PIPE) as entered:
            while surroundings(entered.pid) is None and entered.poll() is None:
                os.sched_yield()
            known = Known(FirstProcess(one.pid, start), _key())
            gone = Known(FirstProcess(one.pid, start - 1), _key())
            assert part_of(_arrival(entered.pid, pid=entered.pid), [known, gone]) is known
            assert part_of(_arrival(0, near=None, pid=entered.pid), [known]) is known
            entered.stdin.close()
        one.stdin.close()
