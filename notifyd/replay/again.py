"""Replaying whole files: read, decide, count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import trio
from trio.testing import MockClock

from notifyd.errors import UsageError
from notifyd.policy.ruleset import RuleSet
from notifyd.replay.compare import ReplayedCall
from notifyd.replay.decide import Decider
from notifyd.replay.event import CALL, Event
from notifyd.replay.reading import ReadStatistics, read
from notifyd.replay.summary import Summary

__all__ = ["replay"]

# seconds with nothing to do before the clock jumps; what a rule really waits is less
CLOCK_JUMP_IDLE_S = 0.02

Heard = Callable[[Event, ReplayedCall], None]
Tick = Callable[[Summary, ReadStatistics, str], None]


def replay(
    rules: RuleSet,
    paths: Sequence[str],
    *,
    heard: Heard,
    tick: Tick,
    workloads: Collection[str] = (),
) -> tuple[Summary, ReadStatistics]:
    """Decide every call of some files again.

    Args:
        rules: the new rules.
        paths: audit files, in their order.
        heard: gets every call with its finding.
        tick: called for every line, with what there is so far and the file.
        workloads: the ids of those whose calls are meant; none means all.

    Raises:
        UsageError: a file cannot be read, or none of them has an event of notifyd.
    """
    # A rule that sleeps has slept at once; one that waits for something real has a moment.
    clock = MockClock(autojump_threshold=CLOCK_JUMP_IDLE_S)
    return trio.run(_replay, rules, paths, heard, tick, workloads, clock=clock)


async def _replay(
    rules: RuleSet, paths: Sequence[str], heard: Heard, tick: Tick, workloads: Collection[str]
) -> tuple[Summary, ReadStatistics]:
    summary, lines, decider = Summary(rules), ReadStatistics(), Decider(rules)
    for path in paths:
        for event in read(path, lines, partial(tick, summary, lines, path)):
            if workloads and event.workload not in workloads:
                continue
            if event.event != CALL:
                summary.note(event)
                continue
            finding = await decider.decide(event)
            summary.add(event, finding)
            heard(event, finding)
    if not lines.events:
        raise UsageError(f"no event of notifyd in {', '.join(paths)}; give files of --audit")
    return summary, lines
