"""Readers: a look is there at once, or goes on by itself."""

import threading
import time
from collections.abc import Callable

import pytest

from notifyd.target.reader import MAX_SLOW_READERS, Readers

PATIENCE = 20.0  # seconds


def _until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def _threads() -> int:
    return sum(one.name == "notifyd-reader" for one in threading.enumerate())


@pytest.fixture
def readers():
    found = Readers()
    yield found
    found.close()
    _until(lambda: not _threads())


def _done(readers, look):
    """A look that is certainly done; a busy machine may take its time."""
    while (pending := readers.start(look)) is None:
        time.sleep(0.001)
    assert pending.wait(PATIENCE)
    return pending


def test_what_a_look_gives(readers):
    """Values and errors, by one thread that is kept."""
    assert _done(readers, lambda: 7).result() == 7
    with pytest.raises(ZeroDivisionError):
        _done(readers, lambda: 1 / 0).result()
    for number in range(200):
        assert _done(readers, lambda number=number: number).result() == number
    _until(lambda: _threads() <= 1)


def test_a_look_that_waits_is_left(readers):
    """The loop goes on, does not wait for the next one, and hears of the first when it is over."""
    go = threading.Event()
    pending = readers.start(go.wait)
    assert pending is not None
    assert not pending.over
    assert readers.start(lambda: 0) is None  # in haste
    go.set()
    assert pending.wait(PATIENCE)
    assert pending.result() is True
    assert _done(readers, lambda: 5).result() == 5


def test_few_are_left_at_a_time(readers):
    """Beyond `MAX_SLOW_READERS` nothing is begun until one of them comes back."""
    go, pending = threading.Event(), []
    end = time.monotonic() + PATIENCE
    while len(pending) < MAX_SLOW_READERS:
        assert time.monotonic() < end
        found = readers.start(go.wait)
        pending += [] if found is None else [found]
    assert _threads() == MAX_SLOW_READERS
    time.sleep(1.1)  # no haste any more
    assert readers.start(lambda: 0) is None
    go.set()
    assert all(one.wait(PATIENCE) for one in pending)


def test_who_is_interrupted_while_waiting(readers, monkeypatch):
    """A rule that is over its patience raises anywhere: the thread is not given two looks."""
    go = threading.Event()

    def raises(self, seconds=-1):
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr("notifyd.target.reader.Pending.wait", raises)
        with pytest.raises(TimeoutError):
            readers.start(go.wait)
    go.set()
    assert _done(readers, lambda: 3).result() == 3
