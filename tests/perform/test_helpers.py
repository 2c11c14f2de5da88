"""The pool of helpers: used again, bounded, and ended in time. The helpers are real processes."""

import errno
import fcntl
import os
import resource
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from notifyd.errors import CannotPerform
from notifyd.kernel import pidfd, proc, unix
from notifyd.perform import helpers as pool
from notifyd.perform.helper import CLOSED, READY
from notifyd.perform.helper_process import Helper
from notifyd.perform.helper_request import HelperRequest, LastComponent, Place
from notifyd.perform.helpers import Helpers
from notifyd.perform.placement import HelperPlan

KEY, OTHER = b"one", b"other"
OPEN = HelperRequest(
    "open", (Place(-1, b"/etc/passwd", LastComponent.FOLLOW),), (os.O_RDONLY, 0, 0)
)


def plan(stack):
    """A helper that is just like us."""
    directory = proc.open_dir(os.getpid())
    stack.callback(os.close, directory)
    root = os.open("/", os.O_PATH)
    stack.callback(os.close, root)
    process = pidfd.open_process(os.getpid())
    stack.callback(os.close, process)
    ids = os.geteuid(), os.geteuid(), os.getegid(), os.getegid()
    return HelperPlan(0, ids, tuple(os.getgroups()), 0, False), [process, directory, root]


def impossible(stack):
    """A helper that cannot be: nobody has that many namespaces to join."""
    wanted, fds = plan(stack)
    return HelperPlan(0x7FFFFFFF, wanted.ids, wanted.groups, 0, False), fds


@asynccontextmanager
async def helping() -> AsyncIterator[Helpers]:
    """Helpers that are all gone afterwards."""
    helpers = Helpers()
    try:
        yield helpers
    finally:
        helpers.close()
        assert helpers.count == 0


def run(function):
    """Run an async test with a limit."""

    async def limited():
        with trio.fail_after(30):
            await function()

    trio.run(limited)


def test_a_helper_is_used_again(no_fd_left):
    """The second call of a context does not pay for a process."""

    async def body():
        async with helping() as helpers:
            assert helpers.take(KEY) is None
            first = await helpers.get(KEY, plan)
            helpers.give_back(first)
            assert await helpers.get(KEY, plan) is first
            assert helpers.count == 1

    run(body)


def test_contexts_have_helpers_of_their_own(no_fd_left):
    """One that is free serves nobody else's calls."""

    async def body():
        async with helping() as helpers:
            helpers.give_back(await helpers.get(KEY, plan))
            assert helpers.take(OTHER) is None

    run(body)


def test_an_order_is_done(no_fd_left):
    """The descriptor is the caller's, and the helper has closed its own."""

    async def body():
        async with helping() as helpers:
            helper = await helpers.get(KEY, plan)
            helper.send(OPEN, [])
            reply, fd = await helper.answer()
            assert (reply.errno, reply.need) == (0, 0)
            assert os.read(fd, 4) == b"root"
            os.close(fd)

    run(body)


def test_what_it_gave_is_ours_alone(no_fd_left, tmp_path):
    """A helper that has answered has nothing open: each time, at once."""
    path = tmp_path / "lock"
    path.touch()
    request = HelperRequest(
        "open", (Place(-1, bytes(path), LastComponent.FOLLOW),), (os.O_RDWR, 0, 0)
    )

    async def body():
        async with helping() as helpers:
            helper = await helpers.get(KEY, plan)
            with path.open() as held:
                for _ in range(300):
                    helper.send(request, [])
                    _, fd = await helper.answer()
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    os.close(fd)
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises
                    fcntl.flock(held, fcntl.LOCK_UN)

    run(body)


def test_what_came_without_its_answer_is_closed(no_fd_left):
    """A helper gives a descriptor, and is ended before it says so."""

    async def body():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gifts, giver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger = subprocess.Popen(["sleep", "60"])
        helper = Helper(KEY, ours, pidfd.open_process(stranger.pid))
        with theirs, giver:
            with gifts:
                unix.post_fds(theirs, READY, gifts.fileno())
            await helper.become()
            unix.post_fds(giver, CLOSED, 0)
            assert helper.answer_soon() is None
        with pytest.raises(CannotPerform, match="ended"):
            await helper.answer()
        helper.close()
        stranger.wait(20)

    run(body)


def test_a_gift_that_is_not_there_is_nonsense(no_fd_left):
    """A helper that says so without having given anything is none."""

    async def body():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gifts, giver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper = Helper(KEY, ours, -1)
        with theirs, giver:
            with gifts:
                unix.post_fds(theirs, READY, gifts.fileno())
            await helper.become()
            theirs.send(CLOSED)
            with pytest.raises(CannotPerform, match="nonsense"):
                helper.answer_soon()
        helper.close()

    run(body)


def test_a_descriptor_without_room_is_an_error(no_fd_left):
    """And not a call that succeeded with nothing to give."""

    async def body():
        async with helping() as helpers:
            helper = await helpers.get(KEY, plan)
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            helper.send(OPEN, [])
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limit[1]))
            try:
                reply, fd = await helper.answer()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            assert (reply.errno, fd) == (errno.ENFILE, None)

    run(body)


def test_a_busy_helper_holds_up_nobody(no_fd_left):
    """The next call of its context gets another one."""

    async def body():
        async with helping() as helpers:
            first = await helpers.get(KEY, plan)
            assert await helpers.get(KEY, plan) is not first
            assert helpers.count == 2

    run(body)


def test_there_are_never_too_many(no_fd_left, monkeypatch):
    """Where all wait, one more call is refused in the end."""
    monkeypatch.setattr(pool, "MAX_HELPERS", 2)

    async def body():
        async with helping() as helpers:
            for _ in range(2):
                await helpers.get(KEY, plan)
            # to become a helper may take longer
            monkeypatch.setattr(pool, "HELPER_START_TIMEOUT_S", 0.3)
            with pytest.raises(CannotPerform, match="2 calls that are performed wait"):
                await helpers.get(KEY, plan)

    run(body)


def test_an_idle_one_makes_room(no_fd_left, monkeypatch):
    """For a context that has none yet."""
    monkeypatch.setattr(pool, "MAX_HELPERS", 2)

    async def body():
        async with helping() as helpers:
            helpers.give_back(await helpers.get(KEY, plan))
            await helpers.get(OTHER, plan)
            await helpers.get(OTHER, plan)
            assert helpers.count == 2
            assert helpers.take(KEY) is None

    run(body)


def test_the_idle_end(no_fd_left, monkeypatch):
    """After some seconds without an order; the busy ones stay."""

    async def body():
        async with helping() as helpers:
            busy = await helpers.get(KEY, plan)
            helpers.give_back(await helpers.get(KEY, plan))
            helpers.prune()
            assert helpers.count == 2
            monkeypatch.setattr(pool, "HELPER_IDLE_TIMEOUT_S", 0.0)
            helpers.prune()
            assert helpers.count == 1
            helpers.give_back(busy)

    run(body)


def test_one_that_dies_says_so(no_fd_left):
    """Whoever waits for its answer is told, and it is not used again."""

    async def body():
        async with helping() as helpers:
            helper = await helpers.get(KEY, plan)
            helper.kill()
            with pytest.raises(CannotPerform, match="ended"):
                await helper.answer()
            helpers.drop(helper)
            assert helpers.count == 0

    run(body)


def test_what_cannot_be_is_told(no_fd_left):
    """With the reason, and nothing of it is left."""

    async def body():
        async with helping() as helpers:
            with pytest.raises(CannotPerform, match="no helper can be where the target is"):
                await helpers.get(KEY, impossible)
            assert helpers.count == 0

    run(body)


def test_idle_ones_go_and_the_zygote_with_them(no_fd_left, monkeypatch):
    """Nothing is left of a workload that does nothing; its next call makes all of it anew."""
    monkeypatch.setattr(pool, "HELPER_IDLE_TIMEOUT_S", 0.0)

    def children() -> str:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return file.read()

    async def body():
        before = children()
        async with helping() as helpers:
            for _ in range(2):
                helper = await helpers.get(KEY, plan)
                helpers.prune()
                assert children() != before  # it is busy
                helpers.give_back(helper)
                helpers.prune()
                assert children() == before

    run(body)
