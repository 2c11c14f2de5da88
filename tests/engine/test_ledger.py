"""Calls on record: what a successor finds, and answers."""

import errno
import os

import pytest
import trio

from notifyd.engine.ledger import MOST_ABOUT, SLOTS, TRIES, Ledger
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload

NOTE = (7, 1, 0, 63, 0xC000003E, 0x1000, 1, 2, 3, 4, 5, 2**64 - 1)


@pytest.fixture
def ledger():
    """A new one."""
    made = Ledger.create(b"about it")
    yield made
    made.close()


def test_a_successor_reads_it(ledger):
    """From another mapping of the same memory: the text, the inline call, those that wait."""
    receive = ledger.receiver(lambda: NOTE)
    assert receive() == NOTE
    slots = [ledger.enter((number, *NOTE[1:])) for number in (8, 9, 10)]
    ledger.leave(slots[1])
    other = Ledger(os.dup(ledger.descriptor))
    try:
        assert other.about == b"about it"
        found = other.take()
        assert [(note[0], tries) for note, tries, _ in found] == [(7, 3), (8, 1), (10, 1)]
        other.begin(found[1][2], 2)
        other.leave(found[2][2])
        # What it has not answered is there for the next one.
        assert [(note[0], tries) for note, tries, _ in other.take()] == [(8, 2), (7, 3)]
    finally:
        other.close()


def test_room(ledger):
    """So many calls and no more; what has left makes room."""
    slots = [ledger.enter(NOTE) for _ in range(SLOTS - 1)]
    assert 0 not in slots
    assert ledger.enter(NOTE) == 0
    ledger.leave(slots[5])
    assert ledger.enter(NOTE) == slots[5]


def test_what_is_no_ledger():
    """A text that is too long, and memory of another size; nothing is left open."""
    with pytest.raises(ValueError, match="too many"):
        Ledger.create(bytes(MOST_ABOUT + 1))
    with pytest.raises((ValueError, OSError)):
        Ledger(os.memfd_create("x"))


def name_is_refused() -> int:
    """The errno of a call, as an exit status."""
    try:
        os.uname()
    except OSError as error:
        return error.errno or 1
    return 0


@pytest.fixture
def left_waiting(start, supervise):
    """A child whose call waits, and its first supervisor's end: `left_waiting(rules)`.

    It gives the child, the workload, and copies of its listener and its ledger.
    """

    def run(text):
        child, first, _ = start(name_is_refused, text)
        ledger = Ledger.create(b"")
        first.ledger, first.receive = ledger, ledger.receiver(first.receive)
        copies = os.dup(first.listener), os.dup(ledger.descriptor)

        async def receive(supervisor):
            while not first.waiting:
                await trio.sleep(0.01)
            first.left = True

        supervise(receive, first)
        return child, first, copies

    return run


def test_a_successor_answers(start, supervise, reporter, left_waiting):
    """A call that was received, and never answered, is decided by the next supervisor."""
    text = (
        "@on(Uname)\nasync def waits(call):\n    await trio.sleep({})\n    return Deny(errno.{})\n"
    )

    child, _, copies = left_waiting(text.format(1000, "EPERM"))
    _, other, _ = start(lambda: 0, text.format(0, "EXDEV"))
    found = Ledger(copies[1])
    second = Workload("second", copies[0], other.rules, reporter, ledger=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, found.take()) == 1
        assert await child.status() == errno.EXDEV
        await second.ended.wait()

    supervise(resume, second)


def test_what_ends_every_supervisor_is_refused(supervise, reporter, left_waiting):
    """A call that was begun too often, and one that was being decided inline, are not decided."""
    text = "@on(Uname)\nasync def waits(call):\n    await trio.sleep(1000)\n"
    child, first, copies = left_waiting(text)
    found = Ledger(copies[1])
    ((note, tries, slot),) = found.take()
    assert tries == 1
    second = Workload("second", copies[0], first.rules, reporter, ledger=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, [(note, TRIES, slot)]) == 1
        assert await child.status() == errno.EPERM
        await second.ended.wait()

    supervise(resume, second)


def test_a_successor_that_is_killed_at_once(start, supervise, reporter):
    """What it has found is on record until it is answered: not only until it was found."""

    def ask() -> int:
        try:
            os.uname()
        except OSError as error:
            return error.errno or 1
        return 0

    text = (
        "@on(Uname)\nasync def waits(call):\n    await trio.sleep({})\n    return Deny(errno.{})\n"
    )
    child, first, _ = start(ask, text.format(1000, "EPERM"))
    ledger = Ledger.create(b"")
    first.ledger, first.receive = ledger, ledger.receiver(first.receive)
    listener, memory = os.dup(first.listener), os.dup(ledger.descriptor)

    async def receive(supervisor):
        while not first.waiting:
            await trio.sleep(0.01)
        first.left = True

    supervise(receive, first)
    killed = Ledger(os.dup(memory))
    assert len(killed.take()) == 1
    killed.close()
    _, other, _ = start(lambda: 0, text.format(0, "EXDEV"))
    found = Ledger(memory)
    second = Workload("second", listener, other.rules, reporter, ledger=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, found.take()) == 1
        assert await child.status() == errno.EXDEV
        await second.ended.wait()

    supervise(resume, second)
