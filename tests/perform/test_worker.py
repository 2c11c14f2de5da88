"""Threads that can be left behind."""

import threading

import pytest
import trio

from notifyd.perform import worker


def test_a_result_comes_back():
    """What the function returns is what run returns."""
    assert trio.run(worker.run, lambda: 42) == 42


def test_an_error_comes_back():
    """What the function raises is raised where it was asked for."""
    with pytest.raises(ZeroDivisionError):
        trio.run(worker.run, lambda: 1 / 0)


def test_each_has_a_thread_of_its_own():
    """A thread that took on somebody's credentials is never used again."""
    seen = []

    async def main():
        for _ in range(5):
            await worker.run(lambda: seen.append(threading.current_thread()))

    trio.run(main)
    assert len({id(one) for one in seen}) == 5
    assert threading.main_thread() not in seen
    assert all(one.daemon for one in seen)


def test_they_run_side_by_side():
    """Fifty that wait for each other all come to an end."""
    barrier = threading.Barrier(50)

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(worker.run, lambda: barrier.wait(20))

    trio.run(main)
    assert not barrier.broken


def test_one_that_hangs_is_left_behind():
    """Cancelling does not wait for the thread, and its late result disturbs nobody."""
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()

    def hang():
        begun.set()
        gate.wait(20)
        done.set()
        return "late"

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, hang)
            while not begun.is_set():
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert not done.is_set()
        gate.set()
        while not done.is_set():
            await trio.sleep(0.001)
        assert await worker.run(lambda: "next") == "next"

    trio.run(main)


def test_the_end_of_the_supervisor_does_not_disturb_a_late_one():
    """A thread that ends after trio did drops its result in silence."""
    begun, gate = threading.Event(), threading.Event()
    threads = []

    def hang():
        threads.append(threading.current_thread())
        begun.set()
        gate.wait(20)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, hang)
            while not begun.is_set():
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()

    trio.run(main)
    gate.set()
    threads[0].join(20)
    assert not threads[0].is_alive()


def test_a_workload_has_so_many_threads_and_no_more(monkeypatch):
    """Whoever wants one more is told so; others, and it itself later, get theirs."""
    monkeypatch.setattr(worker, "MAX_THREADS", 5)
    gate, begun = threading.Event(), []

    async def main():
        async with trio.open_nursery() as nursery:
            token = worker.CREW.set(worker.ThreadPool())
            for _ in range(5):
                nursery.start_soon(worker.run, lambda: (begun.append(1), gate.wait(20)))
            while len(begun) < 5:
                await trio.sleep(0.002)
            with pytest.raises(worker.TooManyThreads, match="5 threads wait"):
                await worker.run(lambda: 42)
            crew = worker.CREW.get()
            worker.CREW.reset(token)
            assert await worker.run(lambda: 42) == 42
            gate.set()
        worker.CREW.set(crew)
        assert await worker.run(lambda: 42) == 42
        assert len(crew) == 0

    trio.run(main)


def test_threads_that_do_not_come_back_are_bounded(monkeypatch):
    """Targets that are killed leave some behind; beyond that, no more are made for the workload."""
    monkeypatch.setattr(worker, "MAX_ABANDONED_THREADS", 3)
    gate = threading.Event()

    async def main():
        crew = worker.ThreadPool()
        worker.CREW.set(crew)
        for _ in range(3):
            with trio.move_on_after(0.01):
                await worker.run(lambda: gate.wait(20))
        with pytest.raises(worker.TooManyThreads, match="left behind"):
            await worker.run(lambda: 42)
        gate.set()
        while len(crew):
            await trio.sleep(0.002)
        assert await worker.run(lambda: 42) == 42

    trio.run(main)
