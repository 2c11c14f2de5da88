"""Peers that do what LXC never does: each ends its own connection, and nothing else."""

import contextlib
import errno
import os
import socket

import pytest
import trio

from notifyd.intake.arrival import ArrivalRefused
from notifyd.kernel import unix


def test_two_packets_at_once(start, serve, returns):
    """They are answered one after the other; LXC sends none before the answer."""
    child, monitor = start(os.getppid)

    async def work(_):
        monitor.connect()
        note = await monitor.receive()
        for _ in range(2):
            monitor.send(monitor.packet(note), note)
        assert len(await monitor.reply()) == 136
        assert await monitor.answer(note) == (7, 0, 0)
        assert await child.status() == 7

    serve(work, returns)


def test_a_request_too_early(start, serve, waits, refused):
    """While one waits, a second one ends the connection: no answer could be told apart."""
    rules, module = waits
    child, monitor = start(refused)

    async def work(service):
        monitor.connect()
        note = await monitor.ask()
        await service.until(lambda: module.asked)
        monitor.send(monitor.packet(note), note)
        assert await monitor.answer(note) is None
        assert await child.status() == errno.ENOSYS

    assert serve(work, rules).refused == ["a request before the answer to the one before it"]


FIRST = {
    "half": lambda packet: packet[:70],
    "a header": lambda packet: packet[:32],
    "one byte": lambda packet: packet[:1],
    "too long": lambda packet: packet + bytes(100_000),
    "noise": lambda packet: bytes(range(200)),
}


@pytest.mark.parametrize("broken", FIRST.values(), ids=FIRST.keys())
@pytest.mark.parametrize("nth", [1, 2])
def test_broken_packets(start, serve, broken, nth, returns, refused):
    """The connection ends, with a line that names the peer; others are served."""
    child, monitor = start(lambda: refused() + 2 * refused())

    async def work(_):
        monitor.connect()
        for turn in (1, 2):
            if turn == nth:
                note = await monitor.receive()
                monitor.send(broken(monitor.packet(note)), note)
                assert await monitor.answer(note) is None
                monitor.connect()
            else:
                assert await monitor.answer(await monitor.ask()) == (7, 0, 0)
        assert await child.status() == nth * errno.ENOSYS

    assert len(serve(work, returns).refused) == 1


WRONG = {
    "none": (lambda fds: [], "0 descriptors"),
    "two": (lambda fds: fds[:2], "2 descriptors"),
    "four": (lambda fds: [*fds, fds[0]], "too many"),
    "two hundred and fifty": (lambda fds: fds[:1] * 250, "too many"),
    "a file for a listener": (lambda fds: [fds[2], fds[2], fds[0]], "not a seccomp listener"),
    "a socket for a listener": (lambda fds: [fds[2], fds[2], fds[3]], "not a seccomp listener"),
}


@pytest.mark.parametrize(("fds", "reason"), WRONG.values(), ids=WRONG.keys())
def test_wrong_descriptors(start, serve, fds, reason, returns, refused):
    """None is kept, and the connection ends."""
    child, monitor = start(refused)

    async def work(service):
        monitor.connect()
        note = await monitor.receive()
        with open("/proc/self/status") as file, socket.socket() as other:
            good = [file.fileno(), file.fileno(), child.listener, other.fileno()]
            chosen = fds(good) if "listener" in reason else fds(good[:3])
            unix.send_fds(monitor.socket, monitor.packet(note), chosen)
            assert await monitor.answer(note) is None
        assert await child.status() == errno.ENOSYS

    (why,) = serve(work, returns).refused
    assert reason in why


def test_another_containers_request(start, serve, returns, refused):
    """Rules were chosen for the first one's cookie; they do not decide for another."""
    child, monitor = start(lambda: os.getppid() * 0 + refused())

    async def work(_):
        monitor.connect()
        assert await monitor.answer(await monitor.ask()) == (7, 0, 0)
        assert await monitor.answer(await monitor.ask(cookie=b"another")) is None
        assert await child.status() == errno.ENOSYS

    assert serve(work, returns).refused == ["a request of another container than the first one"]


def test_nobody_wants_it(start, serve, returns, refused):
    """What `take` refuses is closed, and told; its place is free again."""
    child, monitor = start(lambda: refused() and refused())

    def take(arrival):
        arrival.close()
        raise ArrivalRefused("no section for it")

    async def work(_):
        for _ in range(2):
            monitor.connect()
            assert await monitor.answer(await monitor.ask()) is None
        assert await child.status() == errno.ENOSYS

    service = serve(work, returns, take=take, max_connections=1)
    assert service.refused == ["no section for it"] * 2


def test_peers_that_say_nothing(start, serve, returns):
    """They are closed soon; one that leaves by itself is not worth a word."""
    child, monitor = start(os.getppid)

    async def work(_):
        monitor.connect()
        monitor.connect()
        assert await monitor.reply() == b""
        note = await monitor.receive()
        monitor.connect()
        monitor.send(monitor.packet(note), note)  # before anybody begins to wait for it
        assert await monitor.answer(note) == (7, 0, 0)
        assert await child.status() == 7

    assert serve(work, returns, first_within=0.1).refused == ["said nothing within 0.1 seconds"]


@contextlib.contextmanager
def another_user():
    """Be somebody else for a while."""
    os.setegid(54321)
    os.seteuid(54321)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


CROWDS = {
    "in all": (contextlib.nullcontext, {"max_connections": 10}, 9, "10 connections are open"),
    "of one user": (another_user, {"max_per_uid": 10}, 10, "10 connections of user 54321 are open"),
}


@pytest.mark.root
@pytest.mark.parametrize(("who", "limits", "room", "reason"), CROWDS.values(), ids=CROWDS.keys())
def test_a_thousand_connections(start, serve, returns, who, limits, room, reason):
    """There is room for some; the rest is closed at once, and who is served stays so."""
    child, monitor = start(lambda: os.getppid() * 0 + os.getppid())

    async def work(service):
        monitor.connect()
        assert await monitor.answer(await monitor.ask()) == (7, 0, 0)
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with who():
                    stack.enter_context(one).connect(monitor.path)
                await trio.lowlevel.checkpoint()
            await service.until(lambda: len(service.refused) == 1000 - room)
            assert await monitor.answer(await monitor.ask()) == (7, 0, 0)
        assert await child.status() == 7

    # Those that have a place say nothing: they keep it until all others have been refused.
    assert set(serve(work, returns, first_within=60.0, **limits).refused) == {f"{reason} already"}
