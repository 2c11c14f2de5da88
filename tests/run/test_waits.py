"""What waits, waits where nobody else is held up, and leaves nothing behind when given up."""

import fcntl
import os
import pty
import termios

import pytest

OPENS = """
@on(Open)
def opens(call):
    _ = call.{name}
    return Allow()
"""
# What notifyd and its helpers have open. Pidfds apart: who called is kept for some calls more.
COUNTS = """
@on(SysInfo)
def counts(call):
    command, found = call.process.pid, [os.getpid()]
    for pid in found:
        found += [one for one in children(pid) if one != command]
    return Return(sum(is_kept(f"/proc/{pid}/fd/{fd}") for pid in found for fd in descriptors(pid)))

# What is counted may end meanwhile.
def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(one) for one in file.read().split()]
    except OSError:
        return []

def descriptors(pid):
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []

def is_kept(fd):
    try:
        return "pidfd" not in os.readlink(fd)
    except OSError:
        return False
"""
AS_NOBODY = ("--user", "nobody")


@pytest.fixture
def waits(build, rule, run, here):
    """Run a mode of waits.c with every open performed; returns what it printed."""

    def runner(mode, *options, more="", name="pathname", program="waits", **how):
        rules = rule(OPENS.format(name=name) + more, pulse=not more)
        ran = run(*options, "--rules", rules, "--", build(program), mode, cwd=here, **how)
        assert ran.status == 7, ran
        return ran.lines

    return runner


@pytest.mark.parametrize("name", ["pathname", "path"])
def test_readers_and_writers_of_fifos_meet(name, waits):
    """A hundred threads open fifty FIFOs at both ends, each end in its own time."""
    assert waits("meet", name=name) == ["met 100"]


def test_a_crowd_that_waits_holds_up_nobody(waits):
    """A hundred readers wait for a writer; 400 other opens are done meanwhile."""
    assert waits("crowd") == ["meanwhile 200", "met 100"]


def test_a_handled_signal_ends_the_wait(waits):
    """As natively: EINTR after the handler."""
    assert waits("signalled") == ["Interrupted system call handled"]


def test_a_handler_that_restarts_calls(waits, native, build, here):
    """As natively: after a handler with SA_RESTART the open goes on, until a writer comes."""
    expected = native(build("waits"), "restarted", cwd=here).lines
    assert expected == ["opened handled"]
    assert waits("restarted") == expected


def test_who_waits_can_be_stopped(waits, native, build, here):
    """As natively: it stops while it waits, and the open goes on after SIGCONT."""
    expected = native(build("waits"), "stopped", cwd=here).lines
    assert expected == ["stopped", "opened"]
    (here / "f0").unlink()
    assert waits("stopped") == expected


@pytest.mark.parametrize("mode", ["killed-plain", "killed-made", "killed-fifo"])
def test_the_killed_leave_nothing(mode, waits):
    """Of 300 that are killed in the middle of an open no descriptor and no helper remains."""
    assert waits(mode, more=COUNTS) == ["steady"]


def test_a_lease_that_is_not_given_up(waits):
    """Who opens a leased file waits, nobody else does; O_NONBLOCK gets EWOULDBLOCK."""
    assert waits("lease") == [
        "nonblocking Resource temporarily unavailable",
        "meanwhile 100 waits",
        "opened 1",
    ]


@pytest.mark.parametrize("name", ["pathname", "path"])
@pytest.mark.parametrize("what", ["path", "map"])
def test_a_file_system_that_never_answers(what, name, build, rule, run, here):
    """An open of what is behind it waits alone, and its target can be killed."""
    rules = rule(OPENS.format(name=name))
    ran = run("--rules", rules, "--", build("lazyfs"), what, cwd=here)
    assert (ran.status, ran.lines) == (7, ["4711 waits"])


@pytest.mark.parametrize("options", [(), AS_NOBODY], ids=["root", "nobody"])
@pytest.mark.parametrize("has", [True, False], ids=["terminal", "none"])
def test_dev_tty_is_the_targets_own(has, options, waits, native, build, here):
    """With a controlling terminal, without one, and with one that is not notifyd's."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs):
        adopt = (lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)) if has else None
        how = {"start_new_session": True, "preexec_fn": adopt, "cwd": here}
        before = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        line = (*(before if options else ()), build("tty"))
        expected = native(*line, **how).lines
        assert expected[0] == f"at first: {'ours' if has else os.strerror(6)}"
        assert expected[1:] == [f"alone: {os.strerror(6)}", "made: ours"]
        assert waits("-", *options, program="tty", preexec_fn=adopt) == expected


@pytest.mark.parametrize("way", ["trio.run_process", "in_a_thread"])
def test_what_a_rule_starts_is_its_own(way, build, rule, run):
    """Its exit status comes to the rule. A status that somebody else took looks like success."""
    text = f"""
    import subprocess
    import trio

    async def in_a_thread(words, check):
        return await trio.to_thread.run_sync(lambda: subprocess.run(words, check=check))

    @on(SysInfo)
    async def odd(call):
        done = await {way}(["sh", "-c", "exit 3"], check=False)
        return Return(4711) if done.returncode == 3 else Deny(errno.EACCES)
    """
    ran = run("--rules", rule(text, pulse=False), "--", build("pulse"), "50")
    assert (ran.status, set(ran.lines)) == (7, {"4711 ok"})
