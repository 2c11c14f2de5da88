"""A rule that does not come back is interrupted; everything else is left alone."""

import os
import select
import time

import pytest

from notifyd import Uname, on
from notifyd.engine.in_flight import InFlightTable
from notifyd.engine.watchdog import Watchdog


def sleeps(call):
    time.sleep(30)  # noqa: S101, RUF100 (a rule that hangs in a system call)


def spins(call):
    while True:
        pass


def forgives(call):
    try:
        time.sleep(30)
    except TimeoutError:
        return "caught"


def returns(call):
    return 7


@pytest.fixture
def watched():
    """Call a function as a rule with little patience, under a watchdog."""

    def run(function, patience=0.2):
        on(Uname, patience=patience)(function)
        rule = function.__globals__["__notifyd_declared__"].pop()
        with Watchdog(lambda: [rule]):
            return rule(None)

    return run


@pytest.mark.parametrize("function", [sleeps, spins])
def test_a_rule_that_hangs_is_interrupted(function, watched):
    """In Python code as in a system call; the error says how long it had."""
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.2 seconds"):
        watched(function)
    assert time.monotonic() - begun < 20


def test_the_rule_may_catch_it(watched):
    """It is an exception like any other."""
    assert watched(forgives) == "caught"


def test_a_quick_rule_never_notices(watched):
    """Nor does the caller afterwards."""
    assert watched(returns) == 7


def test_no_patience_is_no_watch():
    """A rule that may take for ever is not looked at; nor is code that is no rule."""
    on(Uname, patience=None)(returns)
    rule = returns.__globals__["__notifyd_declared__"].pop()
    with Watchdog(lambda: [rule]) as dog:
        assert dog._busy_rule() is None


@pytest.mark.parametrize("kept", [False, True], ids=["alone", "on record"])
def test_a_recv_that_somebody_robbed_is_ended(start, supervise, kept):
    """Poll promised a notification, and another reader took it: the listener is let go."""

    def call_and_stay():
        os.uname()
        time.sleep(30)
        return 0

    _, workload, _ = start(call_and_stay, "@on(Uname)\ndef allows(call):\n    return Allow()\n")
    if kept:
        workload.in_flight = InFlightTable.create(b"")
        workload.receive = workload.in_flight.receiver(workload.descriptor)
    truthful, promised = workload.poll, [(workload.descriptor, select.POLLIN)]
    workload.poll = lambda timeout: truthful(timeout) or promised

    async def work(supervisor):
        await workload.ended.wait()

    supervise(work, workload)
    assert workload.shared
