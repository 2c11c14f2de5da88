"""Async rules that wait as trio programs do: within nurseries, scopes and shields."""

import errno
import os
import textwrap

import pytest
import trio
from waiting import events, until

from notifyd.kernel import seccomp
from notifyd.kernel.unotify import Notifier

KILLABLE = seccomp.FILTER_FLAG_NEW_LISTENER | seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV

RULE = """
asked, ended = [], []

@on(Raw("getppid"), patience={patience})
async def answer(call):
    asked.append(call)
    try:
{body}
    finally:
        ended.append(call)
"""
WAYS = {
    "plainly": "await trio.sleep_forever()",
    "in a nursery": """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
        return Allow()""",
    "in a task of a nursery": """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
        return Allow()""",
    "in nurseries": """
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(trio.sleep_forever)
            inner.start_soon(trio.sleep_forever)
        return Allow()""",
    "with a time of its own": """
        with trio.move_on_after(1000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
        return Allow()""",
    "and fails when it is cancelled": """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError('while it is cancelled')""",
    "and swallows it": """
        try:
            await trio.sleep_forever()
        except BaseException:
            return Allow()""",
}


def rule(body, patience="None"):
    """The text of a rule with this body."""
    lines = body.strip("\n").splitlines()
    first = len(lines[0]) - len(lines[0].lstrip())
    body = "\n".join("        " + line[first:] for line in lines)
    return RULE.format(body=body, patience=patience)


@pytest.mark.parametrize("way", WAYS)
def test_a_target_that_is_killed_is_no_failure(start, supervise, reporter, tmp_path, way):
    """Its rule is cancelled, whatever it waits in, and nobody says that it failed."""
    child, workload, rules = start(os.getppid, rule(WAYS[way]))

    async def work(_):
        await until(lambda: rules.asked)
        child.close()
        await until(lambda: rules.ended)

    supervise(work, workload)
    (event,) = events(reporter, tmp_path)
    assert (event["how"], event.get("cause")) == ("gone", None)
    assert "Traceback" not in event.get("reason", "")
    assert reporter.counters.errors == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_left_for_a_successor(start, supervise, reporter, tmp_path, way):
    """A supervisor that leaves answers nothing: whoever has the listener next does."""
    child, workload, rules = start(os.getppid, rule(WAYS[way]), flags=KILLABLE)
    kept = os.dup(workload.descriptor)
    try:

        async def work(_):
            await until(lambda: rules.asked)
            workload.left = True

        supervise(work, workload)
        assert events(reporter, tmp_path) == []
        assert reporter.counters.errors == 0
        assert Notifier(kept).respond(rules.asked[0].note[0], 7, 0, 0)
        assert trio.run(child.status) == 7
    finally:
        os.close(kept)


@pytest.mark.parametrize("way", WAYS)
def test_patience_counts_in_whatever_it_waits(start, supervise, reporter, tmp_path, way):
    """A rule that takes too long has failed, also if it makes a verdict of that."""
    child, workload, rules = start(os.getppid, rule(WAYS[way], patience="0.05"))

    async def work(_):
        await child.status()
        await workload.ended.wait()

    supervise(work, workload)
    (event,) = events(reporter, tmp_path)
    assert (event["verdict"], event["errno"]) == ("deny", "EPERM")
    assert reporter.counters.errors == 1
    assert len(rules.ended) == 1


FAULTS = {
    "raise TypeError('mine')": (errno.EPERM, "TypeError: mine", 1),
    "call.read(8, 8)": (errno.EFAULT, "", 0),
    "raise Thief.stolen": (errno.EPERM, "belongs to no cancellation", 1),
}


@pytest.mark.parametrize(
    ("fault", "nested"),
    # A nursery itself takes a Cancelled of nobody's for the end of its task.
    [(fault, nested) for fault in FAULTS for nested in ((0,) if "stolen" in fault else (0, 1, 2))],
)
def test_what_is_raised_within_a_nursery_counts_as_without(
    start, supervise, reporter, tmp_path, fault, nested
):
    """A pointer's fault is the target's, an error the rule's, however deep it is raised."""
    text = """
    class Thief:
        stolen = None

    async def steal():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(0)
            except trio.Cancelled as cancelled:
                Thief.stolen = cancelled

    async def inner(call, depth):
        if not depth:
            {fault}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner, call, depth - 1)

    @on(Raw("getppid"))
    async def answer(call):
        await steal()
        await inner(call, {nested})
        return Allow()
    """
    child, workload, _ = start(os.getppid, text.format(fault=fault, nested=nested))

    async def work(_):
        await child.status()
        await workload.ended.wait()

    supervise(work, workload)
    (event,) = events(reporter, tmp_path)
    number, said, errors = FAULTS[fault]
    assert event["errno"] == errno.errorcode[number]
    assert said in event["reason"]
    assert reporter.counters.errors == errors


def test_a_slow_look_within_a_nursery_is_done_and_the_rule_asked_again(
    start, supervise, reporter, tmp_path
):
    """As it is without one: nothing that may wait is done on the loop."""
    place = tmp_path / "made"
    place.mkdir()
    text = """
    from notifyd.target.paths import WouldBlock
    tries = []

    async def look(call):
        tries.append(call)
        if len(tries) == 1:
            raise WouldBlock(lambda: tries.append("looked"))

    @on(Raw("getppid"))
    async def answer(call):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, call)
        return Return(7)
    """
    child, workload, rules = start(os.getppid, text)

    async def work(_):
        assert await child.status() == 7
        await workload.ended.wait()

    supervise(work, workload)
    assert rules.tries[1] == "looked"
    assert len(rules.tries) == 3
    (event,) = events(reporter, tmp_path)
    assert event["verdict"] == "return"


HASTY = """
@on(Raw("getppid"), patience=0.05)
async def hasty(call):
    await trio.sleep(0)
    return Allow()
"""
# What comes after a rule that was quick: a second file's, with or without an end, and a late one.
AFTER = {
    "waits without end": (None, 0.2, (0, "return", "", 0)),
    "waits shorter than it may": (20.0, 0.2, (0, "return", "", 0)),
    "waits too long": (0.05, 20.0, (errno.EPERM, "deny", "no verdict within 0.05 seconds", 1)),
}


@pytest.mark.parametrize("case", AFTER)
def test_a_rule_has_its_own_patience(start, supervise, reporter, tmp_path, case):
    """Not what is left of an earlier one's, of another file: each begins with its own question."""
    patience, waits, wanted = AFTER[case]
    later = f"""
    @on(Raw("getppid"), patience={patience})
    async def later(call):
        await trio.sleep({waits})
        return Return(7)
    """
    child, workload, _ = start(os.getppid, (HASTY, later))

    async def work(_):
        await child.status()
        await workload.ended.wait()

    supervise(work, workload)
    (event,) = events(reporter, tmp_path)
    number, verdict, why, errors = wanted
    assert (event["verdict"], event.get("errno")) == (verdict, errno.errorcode.get(number))
    assert why in event.get("reason", "")
    assert reporter.counters.errors == errors


def test_what_follows_a_rule_takes_its_time(start, supervise, reporter, tmp_path):
    """Neither a look that waits nor a call that is performed slowly runs out of patience."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    text = """
    from notifyd.target.paths import WouldBlock
    looks = []

    def slowly():
        time.sleep(0.1)
        looks.append("looked")

    @on(Open, flags=has(os.O_WRONLY), patience=0.05)
    async def opens(call):
        await trio.sleep(0)
        if not looks:
            raise WouldBlock(slowly)
        return Allow() if call.path.name == "fifo" else None
    """

    def opens():
        os.close(os.open(fifo, os.O_WRONLY))
        return 7

    child, workload, rules = start(opens, "import os\nimport time\n" + textwrap.dedent(text))

    async def work(_):
        await until(lambda: rules.looks)
        await trio.sleep(0.2)  # longer than the rule may take
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with open(reader, "rb"):
            assert await child.status() == 7

    supervise(work, workload)
    told = [event["how"] for event in events(reporter, tmp_path) if event["rule"]]
    assert told == ["performed"]
