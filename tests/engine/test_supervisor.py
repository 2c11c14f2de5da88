"""The supervisor on the real kernel: several workloads, their ends, new rules, and its own end."""

import ctypes
import errno
import mmap
import os
from itertools import pairwise

import pytest
import trio
from waiting import events, until

from notifyd.engine.supervisor import Supervisor

RETURNS = "@on(Raw('getppid'))\ndef answer(call):\n    return Return({value})\n"
WAITS = """
asked, go = [], trio.Event()

@on(Raw("getppid"), patience=None)
async def answer(call):
    asked.append(call)
    await go.wait()
    return Return(7)
"""

SLOW_TO_END = """
asked = []

@on(Raw("getppid"), patience=None)
async def answer(call):
    asked.append(call)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            for _ in range(10):
                await trio.lowlevel.checkpoint()
"""


def refused():
    """Exit with the errno of one getppid that cannot fail by itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.syscall(110) < 0 else 0


def test_each_workload_has_its_own_rules(start, supervise):
    """Two listeners in one supervisor never get each other's answers."""
    made = [start(os.getppid, RETURNS.format(value=value)) for value in (11, 12, 13)]

    async def work(supervisor):
        assert [await child.status() for child, _, _ in made] == [11, 12, 13]
        for _, workload, _ in made:
            await workload.ended.wait()
        assert supervisor.workloads == ()

    supervise(work, *(workload for _, workload, _ in made))


def test_a_workload_that_is_removed_leaves_the_others(start, supervise):
    """Its waiting call is refused, later ones get ENOSYS, and another workload goes on."""
    waiting, ours, rules = start(refused, WAITS)
    other, theirs, _ = start(os.getppid, RETURNS.format(value=12))

    async def work(supervisor):
        await until(lambda: rules.asked)
        supervisor.remove(ours)
        assert await waiting.status() in (errno.EPERM, errno.ENOSYS)
        assert await other.status() == 12

    supervise(work, ours, theirs)


def test_the_last_events_of_a_workload_are_written_at_its_end(start, supervise, tmp_path):
    """Those of answered calls and of calls given up, while the supervisor waits for other work."""
    lines = tmp_path / "events.jsonl"
    quick, answered, _ = start(os.getppid, RETURNS.format(value=11))
    waiting, given_up, rules = start(refused, WAITS)

    async def work(supervisor):
        assert await quick.status() == 11
        await until(lambda: rules.asked)
        supervisor.remove(given_up)
        await waiting.status()
        await answered.ended.wait()
        assert supervisor.workloads == ()
        await until(lambda: lines.read_text().count('"event":"call"') == 2)

    supervise(work, answered, given_up)


def test_a_workload_has_ended_when_its_last_call_is_told(start, supervise, reporter):
    """What waited when its listener went is counted before, or nobody would ever count it."""
    _, workload, rules = start(refused, SLOW_TO_END)

    async def work(supervisor):
        await until(lambda: rules.asked)
        supervisor.remove(workload)
        await workload.ended.wait()
        assert [row.count for row in reporter.counters.rows()] == [1]

    supervise(work, workload)


def test_a_call_whose_workload_ends_before_its_task_begins(start, supervise, reporter, monkeypatch):
    """It is not waited for: nobody is there any more whom an answer could reach."""
    _, workload, _ = start(refused, WAITS)
    give = Supervisor._attend

    def give_and_remove(supervisor, notification):
        give(supervisor, notification)
        supervisor.remove(workload)

    monkeypatch.setattr(Supervisor, "_attend", give_and_remove)

    async def work(_):
        await workload.ended.wait()
        assert [row.count for row in reporter.counters.rows()] == [1]

    supervise(work, workload)


def test_the_end_refuses_what_waits(start, supervise, reporter, tmp_path):
    """A cancelled supervisor leaves no target hanging."""
    child, workload, rules = start(refused, WAITS)

    async def work(_):
        await until(lambda: rules.asked)

    supervise(work, workload)
    assert trio.run(child.status) in (errno.EPERM, errno.ENOSYS)
    (event,) = events(reporter, tmp_path)
    assert event["how"] in ("answered", "gone")


def test_new_rules_are_for_new_calls(start, supervise, rules_of):
    """A call under way finishes with the rules that it began with."""
    child, workload, old = start(lambda: os.getppid() * 10 + os.getppid(), WAITS)
    new, _ = rules_of(RETURNS.format(value=4))

    async def work(_):
        await until(lambda: old.asked)
        workload.use(new)
        old.go.set()
        assert await child.status() == 74

    supervise(work, workload)


def test_waiting_calls_do_not_hold_up_others(start, supervise):
    """While one target waits, a hundred calls of another process of the workload are answered."""
    text = WAITS + "\n@on(Raw('getpgid'))\ndef quick(call):\n    return Return(5)\n"

    def work_in_child():
        pid = os.fork()
        if not pid:
            os._exit(os.getppid())
        wrong = sum(os.getpgid(0) != 5 for _ in range(100))
        os.write(write, b"!")
        _, status = os.waitpid(pid, 0)
        return wrong or os.waitstatus_to_exitcode(status)

    read, write = os.pipe()
    try:
        child, workload, rules = start(work_in_child, text)

        async def work(_):
            await trio.lowlevel.wait_readable(read)
            rules.go.set()
            assert await child.status() == 7

        supervise(work, workload)
    finally:
        os.close(read)
        os.close(write)


def test_a_target_that_is_killed_is_noticed(start, supervise, reporter, tmp_path):
    """An async rule is cancelled when its target is gone, and the event says so."""
    text = """
    ended = []

    @on(Raw("getppid"), patience=None)
    async def answer(call):
        try:
            asked.append(call)
            await trio.sleep_forever()
        finally:
            ended.append(call)

    asked = []
    """
    child, workload, rules = start(os.getppid, text)

    async def work(_):
        await until(lambda: rules.asked)
        child.close()
        await until(lambda: rules.ended)

    supervise(work, workload)
    (event,) = events(reporter, tmp_path)
    assert event["how"] == "gone"


SLOW = """
import time
asked = []

@on(Raw("getppid"))
def answer(call):
    asked.append(call.note)
    time.sleep(0.02)
    return Return(7)
"""


def from_four_processes(over):
    """Make calls until `over` says so, of which one always waits; threads would share a lock."""
    children = [os.fork() for _ in range(2)]  # the first child has a child, too
    for _ in range(300):  # six seconds' worth for each: they end where a turn does not
        if not over[0]:
            os.getppid()
    for child in filter(None, children):
        os.waitpid(child, 0)
    if not all(children):
        os._exit(0)
    return 0


def test_a_turn_is_over_after_some_time_too(start, supervise):
    """A workload whose plain rule takes long for each call does not keep others for many calls."""
    over = mmap.mmap(-1, 1)  # shared with the children
    busy, slow, rules = start(lambda: from_four_processes(over), SLOW)
    other, quick, _ = start(lambda: [os.getppid() for _ in range(5)][-1], RETURNS.format(value=12))
    counts = [0]

    async def look():
        while True:
            counts.append(len(rules.asked))
            await trio.lowlevel.checkpoint()

    async def work(supervisor):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            assert await other.status() == 12
            await until(lambda: len(rules.asked) > 30)
            nursery.cancel_scope.cancel()
        over[0] = 1
        assert await busy.status() == 0
        assert max(later - before for before, later in pairwise(counts)) < 20

    supervise(work, slow, quick)


def test_what_cannot_be_watched_stays_the_callers(start):
    """Where the kernel has no room for one more in its epoll, nothing is left behind."""
    _, workload, _ = start(os.getppid, RETURNS.format(value=12))
    supervisor = Supervisor()
    supervisor.close()
    with pytest.raises(ValueError):
        supervisor.add(workload)
    assert supervisor.workloads == ()
    assert workload.descriptor >= 0
