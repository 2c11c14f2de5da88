"""Closing: which descriptors may wait, and where they are closed."""

import os
import socket
import threading
import time

import pytest
import trio
import trio.testing

from notifyd.errors import CannotPerform
from notifyd.perform.closing import MAX_UNAWAITED_CLOSES, Closing

PATIENCE = 20.0  # seconds


def _room(closing: Closing) -> bool:
    try:
        closing.check_room()
    except CannotPerform:
        return False
    return True


@pytest.mark.parametrize(
    "path", ["/", __file__, "/proc", "/proc/self/status", "/dev/null", "/sys", "/dev"]
)
def test_what_is_this_kernels_alone(path):
    """It is closed at once."""
    closing = Closing()
    fd = os.open(path, os.O_RDONLY)
    assert not closing.waits(fd)
    closing.let_go(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_what_is_in_no_tree():
    """Pipes and files in memory wait for nobody; a socket may linger."""
    closing = Closing()
    ends = os.pipe()
    memory = os.memfd_create("x")
    with socket.socket() as one:
        assert [closing.waits(fd) for fd in (*ends, memory, one.fileno())] == [False] * 3 + [True]
    for fd in (*ends, memory):
        os.close(fd)


def test_closings_that_wait_are_bounded(no_fd_left):
    """Nobody waits for them; too many, and there is no room until one is over."""
    closing, go = Closing(), threading.Event()
    for _ in range(MAX_UNAWAITED_CLOSES - 1):
        closing.later(go.wait)
    closing.check_room()
    closing.later(go.wait)
    assert not _room(closing)
    go.set()
    end = time.monotonic() + PATIENCE
    while not _room(closing):
        assert time.monotonic() < end
        time.sleep(0.001)


async def _cancelled(closing: Closing, go: threading.Event) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closing.run, go.wait)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()


def test_who_does_not_wait_any_more_leaves_it_behind():
    """A target that is killed: what it waited for counts from then on, until it is over."""
    closing, gos = Closing(), [threading.Event() for _ in range(MAX_UNAWAITED_CLOSES)]

    async def main() -> None:
        for go in gos:
            assert _room(closing)
            await _cancelled(closing, go)
        assert not _room(closing)
        for go in gos:
            go.set()
        with trio.fail_after(PATIENCE):
            while not _room(closing):
                await trio.sleep(0.001)
        await closing.run(lambda: None)

    trio.run(main)


def test_descriptors_are_closed_before_it_returns(no_fd_left):
    """That is what the answer waits for."""
    closing = Closing()
    fd = os.open("/", os.O_RDONLY)

    async def main() -> None:
        await closing.close([fd])
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    trio.run(main)
