"""A hundred thousand calls at once: each is answered once, with its own answer."""

import sys
from collections import Counter

import pytest

RULE = """
@on(Raw("sysinfo"))
{word} number(call):
    # The thread's id as the target sees it: this workload is in our pid namespace.
    return Return((call.arg0 >> 12) * 3 + 1 + call.note[1])
"""


@pytest.mark.parametrize(
    ("word", "processes", "threads", "calls"),
    [("def", 8, 8, 1600), ("def", 1, 16, 1000), ("async def", 4, 8, 300)],
)
def test_each_call_has_its_own_answer(word, processes, threads, calls, build, rule, run):
    """Every thread gets back what belongs to its own call, and every call has one event."""
    total = processes * threads * calls
    rules = rule(RULE.format(word=word), pulse=False)
    ran = run("--rules", rules, "--", build("many"), str(processes), str(threads), str(calls))
    assert (ran.status, ran.out) == (0, "0\n")
    values = Counter((event["value"] - 1 - event["tid"]) // 3 for event in ran.of("Raw")
                     if event["syscall"] == "sysinfo")  # fmt: skip
    assert values == Counter(range(total))
    assert ran.the("workload.ended")["calls"] == len(ran.calls)


def test_silent_runs_answer_each_call_too(build, rule, native, tmp_path):
    """Without an audit file and without a summary nothing is counted, and all is answered."""
    rules = rule(RULE.format(word="def"), pulse=False)
    line = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", rules, "--")
    ran = native(*line, build("many"), "8", "8", "1600")
    assert (ran.status, ran.out, ran.err) == (0, "0\n", "")


def test_identities_are_right_under_load(build, rule, run):
    """Each event names the process and the thread that made the call, also after forks."""
    rules = rule(RULE.format(word="def"), pulse=False)
    ran = run("--rules", rules, "--", build("many"), "6", "4", "50")
    by_process = Counter(event["process"] for event in ran.of("Raw")
                         if event["syscall"] == "sysinfo")  # fmt: skip
    assert len(by_process) == 6
    assert set(by_process.values()) == {200}
