"""Targets that go away, stop, signal, fork and hide: each call ends once, the next is answered."""

import os

import pytest

WAITS = """
import trio

@on(Uname, patience=None)
async def waits(call):
    with open(option("fifo", ""), "w") as fifo:
        fifo.write("!")
    await trio.sleep_forever()
"""

INLINE = "@on(SysInfo)\ndef pulse(call):\n    return Return(4711)\n"
TASK = """
import trio

@on(SysInfo)
async def pulse(call):
    await trio.lowlevel.checkpoint()
    return Return(4711)
"""
LOOKS = """
@on(SysInfo)
def pulse(call):
    call.read(call.buffer, 8), call.process.cmdline, call.process.exe
    return Return(4711)
"""
WAYS = {"inline": INLINE, "task": TASK, "looks": LOOKS}


def balanced(ran):
    """Every call has one event, and how it ended is one of the four."""
    assert ran.the("workload.ended")["calls"] == len(ran.calls)
    hows = {event["how"] for event in ran.calls}
    assert hows <= {"continued", "performed", "answered", "gone"}
    assert "kill" not in {event["verdict"] for event in ran.of("SysInfo")}


@pytest.mark.parametrize(
    ("mode", "says"), [("killed", "signal 9"), ("group", "exit 5"), ("exec", "exit 6")]
)
def test_a_target_that_goes_away_is_cancellation(mode, says, build, rule, run, tmp_path):
    """Killed, its group exited, or executed anew while its rule waits: the event says gone."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ran = run("--rules", rule(WAITS.replace('option("fifo", "")', repr(str(fifo)))), "--",
              build("hostile"), mode, str(fifo))  # fmt: skip
    assert (ran.status, ran.lines) == (7, [says, "pulse 4711"])
    (event,) = ran.of("Uname")
    assert event["how"] == "gone"
    assert "errno" not in event
    balanced(ran)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("restart", ["0", "1"])
def test_a_storm_of_signals(restart, way, build, rule, run):
    """5,000 calls under a timer of 200 microseconds: none is lost or mixed up."""
    rules = rule(WAYS[way], pulse=False)
    ran = run("--rules", rules, "--", build("hostile"), "signals", restart)
    assert (ran.status, ran.lines) == (7, ["wrong 0 signalled", "pulse 4711"])
    assert len([e for e in ran.of("SysInfo") if e["how"] == "answered"]) == 5001
    balanced(ran)


@pytest.mark.parametrize("way", WAYS)
def test_a_storm_of_stops(way, build, rule, run):
    """SIGSTOP and SIGCONT without a pause do no harm to 3,000 calls."""
    ran = run("--rules", rule(WAYS[way], pulse=False), "--", build("hostile"), "stops")
    assert (ran.status, ran.lines) == (7, ["status 0 often", "pulse 4711"])
    assert len([e for e in ran.of("SysInfo") if e["how"] == "answered"]) == 3001
    balanced(ran)


@pytest.mark.parametrize("way", WAYS)
def test_a_storm_of_forks(way, build, rule, run):
    """1,000 short-lived processes, a hundred at a time, each with its own event."""
    ran = run("--rules", rule(WAYS[way], pulse=False), "--", build("hostile"), "forks", "100")
    assert (ran.status, ran.lines) == (7, ["wrong 0", "pulse 4711"])
    assert len({event["process"] for event in ran.of("SysInfo")}) == 1001
    assert len(ran.of("SysInfo")) == 1001
    balanced(ran)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["kills", "leaves"])
def test_targets_killed_at_any_moment(mode, way, build, rule, run):
    """Between poll and receive, while decided, while answered: the supervisor goes on."""
    ran = run("--rules", rule(WAYS[way], pulse=False), "--", build("hostile"), mode)
    assert (ran.status, ran.lines) == (7, ["done", "pulse 4711"])
    balanced(ran)
    for event in ran.of("SysInfo"):
        assert event["how"] in ("answered", "gone")


SEES = """
@on(Open, flags=0)
def sees(call):
    return Continue() if call.path else Deny(errno.ENXIO)
"""


def test_root_sees_into_what_hides(build, rule, run):
    """A supervisor that is root looks into a target that is not dumpable."""
    ran = run("--rules", rule(SEES), "--", build("hostile"), "undumpable")
    assert (ran.status, ran.lines) == (7, ["open 0 ok", "pulse 4711"])


def test_what_hides_without_cap_sys_ptrace_fails_closed(build, rule, run):
    """To a notifyd without CAP_SYS_PTRACE what is not dumpable is refused, with a reason."""
    ran = run("--rules", rule(SEES), "--", build("hostile"), "undumpable",
              before=("setpriv", "--bounding-set=-sys_ptrace"))  # fmt: skip
    assert (ran.status, ran.lines) == (7, ["open -1 EPERM", "pulse 4711"])
    (event,) = [one for one in ran.of("Open") if one["verdict"] == "deny"]
    assert "undumpable" in event["reason"]
    assert event["how"] == "answered"


def test_kill_ends_the_process_and_the_call_never_happens(build, rule, run, tmp_path):
    """Kill() ends the whole process with all its threads; the file was never made."""
    text = """
    @on(Open)
    def kills(call):
        return Kill() if call.pathname.endswith(b"never") else Continue()
    """
    never = tmp_path / "never"
    ran = run("--rules", rule(text), "--", build("hostile"), "dies", str(never))
    assert (ran.status, ran.lines) == (7, ["signal 9 exit 0", "made 0", "pulse 4711"])
    (event,) = [one for one in ran.of("Open") if one["verdict"] == "kill"]
    assert event["args"]["pathname"] == str(never)


def test_otherwise_deny_refuses_what_no_rule_knows(build, rule, run):
    """With --otherwise deny a call without an opinion gets EPERM, and its event names no rule."""
    text = "@on(Uname)\ndef shrugs(call):\n    return None\n"
    ran = run("--otherwise", "deny", "--rules", rule(text), "--", build("odd"))
    assert (ran.status, ran.lines) == (7, ["-1 EPERM", "4711"])
    (event,) = ran.of("Uname")
    assert (event["verdict"], event["errno"]) == ("deny", "EPERM")
    assert "rule" not in event
