"""Performing where it is hard: what never ends, other roots, other descriptors, and no leak."""

import os
import signal
import textwrap

import pytest

PERFORMS = """
@on(Connect, Bind)
def performs(call):
    assert call.address is None or call.address.raw
    return Allow()
"""


@pytest.fixture
def performed(build, rule, run, native, tmp_path):
    """Run a mode of performed.c under performing rules: lines and events."""
    here = tmp_path / "here"
    here.mkdir()

    def runner(mode, *more, rules="", **how):
        text = rule(PERFORMS + textwrap.dedent(rules))
        return run("--rules", text, "--", build("performed"), mode, *more, cwd=here, **how)

    return runner


def test_a_connect_that_never_ends_holds_up_nobody(performed):
    """Others are answered meanwhile, and its target can be killed."""
    ran = performed("waits")
    assert (ran.status, ran.lines) == (7, ["wrong 0", "signal 9", "pulse 4711"])
    assert [event["how"] for event in ran.of("Connect")][-1] == "gone"


def test_a_connect_that_never_ends_does_not_hold_up_the_end(start, build, rule, tmp_path):
    """A signal without a handler ends its target, and notifyd with it."""
    process = start("--rules", rule(PERFORMS), "--", build("performed"), "blocked", cwd=tmp_path)
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130


@pytest.mark.parametrize(
    ("mode", "result"),
    [("interrupted", "-1 EINTR"), ("restarted", "0 ok"), ("limited", "-1 EINTR")],
)
def test_a_signal_interrupts_what_is_performed(mode, result, performed, native, build, tmp_path):
    """EINTR, or with SA_RESTART the call again, unless it has a time limit; as natively."""
    ran = performed(mode)
    assert (ran.status, ran.lines) == (7, [result, "pulse 4711"])
    (tmp_path / "natively").mkdir()
    assert native(build("performed"), mode, cwd=tmp_path / "natively").lines[0] == result


def test_paths_are_the_targets(performed, tmp_path):
    """In a chroot, relative to its working directory, with its umask."""
    ran = performed("rooted")
    assert ran.lines == [
        "bind 0", "relative 0", "above 0", "0 140700 0 0", "pulse 4711",
    ]  # fmt: skip
    made = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_socket())
    assert made == ["here/jail/deep/there", "here/jail/here", "here/jail/out"]


def test_descriptors_are_the_threads_own(performed):
    """A thread that shares no descriptors with its process has its own socket bound."""
    ran = performed("files")
    assert (ran.status, ran.lines) == (7, ["0 0 untouched", "pulse 4711"])


def test_nothing_piles_up(performed):
    """Descriptors and threads of notifyd are as many after sixty abandoned calls as before."""
    counts = """
    @on(Uname)
    def counts(call):
        return Return(sum(len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task")))
    """
    ran = performed("grows", rules=counts)
    assert (ran.status, ran.lines) == (7, ["steady", "pulse 4711"])


def test_a_crowd_that_waits_together(performed):
    """Five hundred calls wait for one event at once; each gets its answer."""
    gathers = """
    import trio
    came, all_here = [], trio.Event()

    @on(Uname)
    async def gathers(call):
        came.append(call.process.tid)
        if len(came) == 500:
            all_here.set()
        await all_here.wait()
        return Return(12)
    """
    ran = performed("crowd", "500", rules=gathers)
    assert (ran.status, ran.lines) == (7, ["wrong 0", "pulse 4711"])
    assert len({event["tid"] for event in ran.of("Uname")}) == 500


def test_more_than_there_are_descriptors_for(performed):
    """Without a descriptor left a call that needs one is refused, and the others go on."""
    ran = performed("throng", "80", before=("prlimit", "--nofile=80"))
    assert (ran.status, ran.lines) == (7, ["refused 1", "pulse 4711"])
    reasons = {event.get("reason", "") for event in ran.of("Connect") if event["verdict"] == "deny"}
    assert any("Too many open files" in reason for reason in reasons)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")
def test_a_mount_never_shows_what_is_ours(build, rule, run, native, tmp_path):
    """Refused, and said so: proc is of the pid namespace of whoever mounts, fuse of descriptors."""
    looks = """
    @on(Mount)
    def looks(call):
        return Allow() if call.path else None
    """
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    ran = run("--rules", rule(looks), "--", build("ofcaller"), str(here))
    assert ran.lines == [
        "proc EPERM", "processes of others no", "cgroup2 ok", "fuse EPERM", "a part of fuse EPERM",
    ]  # fmt: skip
    reasons = [event["reason"] for event in ran.of("Mount") if event.get("errno") == "EPERM"]
    assert "pid namespace" in reasons[0]
    assert all("descriptors" in one for one in reasons[1:])
    alone = native(build("ofcaller"), str(there))
    assert alone.lines[:3] == ["proc ok", "processes of others no", "cgroup2 ok"]
