"""Calls on record: what a successor finds, and answers."""

import contextlib
import errno
import os
import signal
import threading
import time

import pytest
import trio

from notifyd.approvals.question import Answer, Person, Scope
from notifyd.approvals.queue import ApprovalQueue
from notifyd.engine.in_flight import MAX_ABOUT_BYTES, MAX_DECIDE_TRIES, SLOTS, InFlightTable
from notifyd.engine.listener import Listener
from notifyd.engine.notification import Notification
from notifyd.engine.supervisor import Supervisor
from notifyd.kernel import prctl
from notifyd.kernel.unotify import NOTIF
from notifyd.target.watch import Change, Watched

NOTE = (7, 1, 0, 63, 0xC000003E, 0x1000, 1, 2, 3, 4, 5, 2**64 - 1)


@pytest.fixture
def ledger():
    """A new one."""
    made = InFlightTable.create(b"about it")
    yield made
    made.close()


def test_a_successor_reads_it(ledger):
    """From another mapping of the same memory: the text, the inline call, those that wait."""
    NOTIF.pack_into(ledger._inline, 0, *NOTE)
    slots = [ledger.enter((number, *NOTE[1:])) for number in (8, 9, 10)]
    ledger.leave(slots[1])
    other = InFlightTable(os.dup(ledger.descriptor))
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


def test_upper_halves(ledger):
    """What the kernel wrote of an i386 call has rubbish above, and a successor sees none of it."""
    note = (7, 1, 0, 63, 0x40000003, 0x1000, 1, 2, 3, 4, 1 << 32 | 5, 2**64 - 1)
    NOTIF.pack_into(ledger._inline, 0, *note)
    ((found, _, _),) = ledger.take()
    assert found == (*note[:10], 5, 0xFFFFFFFF)


def test_waiting_for_a_person_is_no_try(ledger):
    """Who ends meanwhile has not begun it; who decides it further has."""
    slot = ledger.enter(NOTE)
    for _ in range(MAX_DECIDE_TRIES):
        ledger.pause(slot)
        ((_, waiting, _),) = ledger.take()
        ledger.go_on(slot)
        ((_, decided, _),) = ledger.take()
        assert (waiting, decided) == (0, 1)
    ledger.pause(0)  # one that is not on record
    assert len(ledger.take()) == 1


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
        InFlightTable.create(bytes(MAX_ABOUT_BYTES + 1))
    with pytest.raises((ValueError, OSError)):
        InFlightTable(os.memfd_create("x"))


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

    It gives the child, the workload, and copies of its listener and its in-flight table.
    """

    def run(text):
        child, first, _ = start(name_is_refused, text)
        ledger = InFlightTable.create(b"")
        first.in_flight, first.receive = ledger, ledger.receiver(first.descriptor)
        copies = os.dup(first.descriptor), os.dup(ledger.descriptor)

        async def receive(supervisor):
            while not first.waiting:
                await trio.sleep(0.01)
            first.left = True

        supervise(receive, first)
        return child, first, copies

    return run


def _takes_and_is_held_up(listener: int, ledger: InFlightTable, ready: int) -> None:
    """Wait for a call in a thread, and never give that thread Python's lock again."""
    prctl.set_pdeathsig(signal.SIGKILL)
    threading.Thread(target=ledger.receiver(listener)).start()
    time.sleep(0.3)  # for the thread to wait in the kernel; too little makes the test too easy
    os.write(ready, b"!")
    sum(range(1 << 62))


def test_what_was_taken_is_on_record(start, supervise, reporter):
    """Also if a supervisor is killed before it has come back from receiving it."""
    (gate, go), (told, ready) = os.pipe(), os.pipe()

    def waits_for_it() -> int:
        os.read(gate, 1)
        return name_is_refused()

    child, first, _ = start(waits_for_it, "@on(Uname)\ndef no(call):\n    return Deny(1)\n")
    ledger = InFlightTable.create(b"")
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            _takes_and_is_held_up(first.descriptor, ledger, ready)
        os._exit(1)
    os.read(told, 1)
    os.write(go, b"!")
    end = time.monotonic() + 20
    while not any(ledger._inline[:8]) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    second = Listener("second", os.dup(first.descriptor), first.rules, reporter, in_flight=ledger)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, ledger.take()) == 1
        assert await child.status() == errno.EPERM
        await second.ended.wait()

    first.close()
    supervise(resume, second)
    for end_of_pipe in (gate, go, told, ready):
        os.close(end_of_pipe)


def test_a_successor_answers(start, supervise, reporter, left_waiting):
    """A call that was received, and never answered, is decided by the next supervisor."""
    text = (
        "@on(Uname)\nasync def waits(call):\n    await trio.sleep({})\n    return Deny(errno.{})\n"
    )

    child, _, copies = left_waiting(text.format(1000, "EPERM"))
    _, other, _ = start(lambda: 0, text.format(0, "EXDEV"))
    found = InFlightTable(copies[1])
    second = Listener("second", copies[0], other.rules, reporter, in_flight=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, found.take()) == 1
        assert await child.status() == errno.EXDEV
        await second.ended.wait()

    supervise(resume, second)


def test_a_successor_that_asks_no_rule(start, supervise, reporter, left_waiting):
    """A call that goes on since no rule names it any more leaves the record, too."""
    child, _, copies = left_waiting(
        "@on(Uname)\nasync def waits(call):\n    await trio.sleep(99)\n"
    )
    _, other, _ = start(lambda: 0, "@on(Mknod)\ndef no(call):\n    return Deny(1)\n")
    found, watched = InFlightTable(copies[1]), [Watched("uname", Change.PLACE)]
    second = Listener("second", copies[0], other.rules, reporter, watched=watched, in_flight=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, found.take()) == 1
        assert all(found.enter(NOTE) for _ in range(1, SLOTS))
        assert await child.status() == 0
        await second.ended.wait()

    supervise(resume, second)


def test_our_own_error(start, supervise, reporter, monkeypatch):
    """The call is on record until it is refused, and not after that."""
    text = "@on(Uname)\nasync def waits(call):\n    await trio.sleep(1000)\n"
    child, workload, _ = start(name_is_refused, text)
    ledger = workload.in_flight = InFlightTable.create(b"")
    workload.receive = ledger.receiver(workload.descriptor)
    refuse, free = workload.broke, []

    async def fails(_case):
        raise RuntimeError("ours")

    def broke(note, error):
        refuse(note, error)
        free.append(len(ledger._free))

    monkeypatch.setattr(Notification, "_see_through", fails)
    monkeypatch.setattr(workload, "broke", broke)

    async def work(_):
        assert await child.status() == errno.EPERM
        await workload.ended.wait()

    supervise(work, workload)
    assert [*free, len(ledger._free)] == [SLOTS - 2, SLOTS - 1]


def test_what_ends_every_supervisor_is_refused(supervise, reporter, left_waiting):
    """A call that was begun too often, and one that was being decided inline, are not decided."""
    text = "@on(Uname)\nasync def waits(call):\n    await trio.sleep(1000)\n"
    child, first, copies = left_waiting(text)
    found = InFlightTable(copies[1])
    ((note, tries, slot),) = found.take()
    assert tries == 1
    second = Listener("second", copies[0], first.rules, reporter, in_flight=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, [(note, MAX_DECIDE_TRIES, slot)]) == 1
        assert await child.status() == errno.EPERM
        await second.ended.wait()

    supervise(resume, second)


def test_a_question_outlives_them_all(start, supervise, reporter):
    """One that waits for a person is asked by each successor, and the last one's answer counts."""
    text = "@on(Uname)\ndef asks(call):\n    return Ask('may it?')\n"
    child, first, _ = start(name_is_refused, text)
    ledger = InFlightTable.create(b"")
    first.in_flight, first.receive = ledger, ledger.receiver(first.descriptor)
    listener, memory = os.dup(first.descriptor), os.dup(ledger.descriptor)

    def supervised(workload, calls, *, is_last=False):
        workload.queue = desk = ApprovalQueue(lambda *_, **__: None)
        desk.attended = 1

        async def live(supervisor):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.run)
                supervisor.resume(workload, calls)
                while not desk.pending:
                    await trio.sleep(0.01)
                if is_last:
                    person = Person("root", 0, "ctl")
                    await desk.answer(desk.pending[0].id, Answer(True, person, Scope.ONCE))
                    assert await child.status() == 0
                    await workload.ended.wait()
                workload.left = not is_last
                nursery.cancel_scope.cancel()

        supervise(live, workload)

    supervised(first, [])
    for number in range(2 * MAX_DECIDE_TRIES):
        found = InFlightTable(os.dup(memory))
        copy = os.dup(listener)
        following = Listener(f"w{number}", copy, first.rules, reporter, in_flight=found)
        supervised(following, found.take(), is_last=number == 2 * MAX_DECIDE_TRIES - 1)
    os.close(listener)
    os.close(memory)


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
    ledger = InFlightTable.create(b"")
    first.in_flight, first.receive = ledger, ledger.receiver(first.descriptor)
    listener, memory = os.dup(first.descriptor), os.dup(ledger.descriptor)

    async def receive(supervisor):
        while not first.waiting:
            await trio.sleep(0.01)
        first.left = True

    supervise(receive, first)
    killed = InFlightTable(os.dup(memory))
    assert len(killed.take()) == 1
    killed.close()
    _, other, _ = start(lambda: 0, text.format(0, "EXDEV"))
    found = InFlightTable(memory)
    second = Listener("second", listener, other.rules, reporter, in_flight=found)

    async def resume(supervisor: Supervisor):
        assert supervisor.resume(second, found.take()) == 1
        assert await child.status() == errno.EXDEV
        await second.ended.wait()

    supervise(resume, second)
