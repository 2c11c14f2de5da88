"""Several workloads on the real kernel: none waits for more than the turn that is being given."""

import ctypes
import mmap
import os
import threading
import time
from itertools import pairwise

import pytest
import trio
from waiting import until

from notifyd.engine.supervisor import Supervisor

COUNTS = """
import time
since, flag = [0], None

@on(Raw("getppid"))
def answer(call):
    time.sleep(0.002)
    since[0] += flag[0]
    return Return(7)
"""
NOTES = """
found, flag, busy = [], None, ()

@on(Raw("getppid"))
{kind} answer(call):
    found.append(sum(module.since[0] for module in busy))
    for module in busy:
        module.since[0] = 0
    flag[0] = 0
    return Return(12)
"""


def busily(over):
    """Make calls until `over` says so."""
    while not over[1]:
        os.getppid()
    return 0


def now_and_then(flag):
    """Make calls with a pause between them, and say before each that it comes."""
    for _ in range(30):
        time.sleep(0.005)
        flag[0] = 1
        os.getppid()
    return 0


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_quiet_workload_does_not_wait_for_the_turns_of_the_busy(start, supervise, kind):
    """Beside eight that call without a pause: for the one whose turn it is, and not for all."""
    flag = mmap.mmap(-1, 2)  # shared with the children: a call is on its way; all is over
    busy = [start(lambda: busily(flag), COUNTS) for _ in range(8)]
    quiet, workload, notes = start(lambda: now_and_then(flag), NOTES.format(kind=kind))
    notes.busy = [module for _, _, module in busy]
    for module in (notes, *notes.busy):
        module.flag = flag

    async def work(_):
        assert await quiet.status() == 0
        flag[1] = 1
        assert [await child.status() for child, _, _ in busy] == [0] * 8

    supervise(work, workload, *(one for _, one, _ in busy))
    assert sorted(notes.found)[15] <= (2 if kind == "def" else 4), notes.found


RELEASED = """
asked, between, go, quick = [], [], trio.Event(), None

@on(Raw("getppid"), patience=None)
async def answer(call):
    asked.append(call)
    await go.wait()
    between.append(len(quick.asked))
    time.sleep(0.002)
    return Return(7)

import time
"""
QUICK = """
asked = []

@on(Raw("getppid"))
def answer(call):
    asked.append(call)
    return Return(12)
"""


def in_many_threads(count):
    """A call in each of so many threads; os.getppid() would keep the others from theirs."""
    getppid = ctypes.CDLL(None).getppid
    threads = [threading.Thread(target=getppid) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def test_many_tasks_that_go_on_at_once_do_not_keep_others(start, supervise):
    """Between their steps the listeners are looked at: trio itself would run all of them first."""
    over = mmap.mmap(-1, 2)
    crowd, ours, rules = start(lambda: in_many_threads(100), RELEASED)
    other, theirs, rules.quick = start(lambda: busily(over), QUICK)

    async def work(_):
        await until(lambda: len(rules.asked) == 100 and rules.quick.asked)
        rules.go.set()
        assert await crowd.status() == 0
        over[1] = 1
        assert await other.status() == 0

    supervise(work, ours, theirs)
    assert len(set(rules.between)) > 50  # the other one was answered between most of them


COMES_AGAIN = """
import time
order, seen, go = [], set(), trio.Event()

@on(Raw("getppid"))
def again(call):
    if call.process.tid in seen:
        order.append("new")
        return Return(12)
    seen.add(call.process.tid)

@on(Raw("getppid"), patience=None)
async def answer(call):
    await go.wait()
    order.append("step")
    time.sleep(0.002)
    return Return(7)
"""


def in_many_threads_twice(count):
    """Two calls in each of so many threads."""
    getppid = ctypes.CDLL(None).getppid
    threads = [threading.Thread(target=lambda: getppid() + getppid()) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def test_a_crowd_gets_no_more_before_its_tasks_had_their_step(start, supervise):
    """Or a workload that lets go of its calls early would make more than are ever seen through."""
    over = mmap.mmap(-1, 2)
    crowd, ours, rules = start(lambda: in_many_threads_twice(100), COMES_AGAIN)
    other, theirs, quick = start(lambda: busily(over), QUICK)

    async def work(_):
        await until(lambda: len(rules.seen) == 100 and quick.asked)
        rules.go.set()
        assert await crowd.status() == 0
        over[1] = 1
        assert await other.status() == 0

    supervise(work, ours, theirs)
    # Down to 64 that wait. The loop itself may have its own step among those of the tasks.
    steps = [at for at, what in enumerate(rules.order) if what == "step"][:36]
    assert sum(after - before > 1 for before, after in pairwise(steps)) <= 2, rules.order
    assert rules.order.count("new") == 100


def test_an_error_of_ours_between_two_steps_ends_the_supervisor(start, supervise, monkeypatch):
    """As it does in the loop itself; trio would log it, and the others wait for ever."""
    over = mmap.mmap(-1, 2)
    _, ours, rules = start(lambda: in_many_threads(20), RELEASED)
    _, theirs, rules.quick = start(lambda: busily(over), QUICK)
    over[1] = 1

    def breaks(*_):
        raise KeyError("ours")

    async def work(_):
        await until(lambda: len(rules.asked) == 20)
        monkeypatch.setattr(Supervisor, "_look", breaks)
        rules.go.set()
        await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as failure:
        supervise(work, ours, theirs)
    assert failure.group_contains(KeyError, match="ours")
