"""Who did it: what receivers, servers and buses learn of a program is what they learn natively."""

import shutil
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
PYTHON = "/usr/bin/python3"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
LOOKS = """
@on(Connect, SendTo)
def looks(call):
    for to in call.addresses if isinstance(call, SendTo) else (call.address,):
        if to is not None and b"evil" in to.raw:
            return Deny(errno.EACCES)
    return Allow()
"""
TO = ("--option", "to=192.0.2.0/24")
SHIPPED = [("--rules", "connect-allowlist", *TO), ("--rules", "ask-connect", *TO)]
AS = {  # before `notifyd`, its own words, and what comes before the native command
    "root": ((), (), ()),
    "for a user": ((), ("--user", "nobody"), NOBODY),
    "by a user": (NOBODY, (), NOBODY),
}


@pytest.fixture
def program(here):
    """A program of ours where anybody can read it."""

    def copy(name):
        return shutil.copy(PROGRAMS / name, here)

    return copy


@pytest.fixture
def run_as(run, rule, here, monkeypatch):
    """Run behind rules as one of `AS`."""
    for one in ("HOME", "XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(one, str(here))

    def runner(who, rules, *words):
        before, own, _ = AS[who]
        if before:
            shutil.chown(here.parent, "nobody")  # the events are written there
        return run(*own, *rules, "--", *words, before=before, cwd=here)

    return runner


@pytest.mark.parametrize("who", AS)
def test_whom_receivers_are_told(who, run_as, rule, native, program, here):
    """Credentials of messages and of peers, what may be said of oneself, and the errnos.

    Where notifyd is no root itself, sendmmsg alone names notifyd's process.
    """
    words = PYTHON, program("whosent.py"), "pairs", "addressed", "connected"
    alone = native(*AS[who][2], *words, cwd=here)
    ran = run_as(who, ("--rules", rule(LOOKS)), *words)
    assert len(alone.lines) > 50, alone.err
    ours, theirs = ran.lines, alone.lines
    if who == "by a user":
        theirs = [
            one.replace("the sender", "another") if "sendmmsg" in one else one for one in theirs
        ]
    assert ours == theirs, ran.err


@pytest.mark.parametrize("who", ["root", "by a user"])
@pytest.mark.parametrize("how", ["threads", "signals", "stops", "executes", "kills", "hostile"])
def test_nothing_disturbs_a_program_that_is_led(who, how, run_as, rule, build):
    """Threads, signals, stops, kills, an execve meanwhile, and threads that are after our memory.

    No register and no blocked signal changes, nobody is left behind, and what is refused gets
    nothing, however often the address is exchanged.
    """
    words = build("itself"), "30", how
    ran = run_as(who, ("--rules", rule(LOOKS)), *words)
    assert f"{how}: 0 wrong" in ran.lines, ran.out
    if how == "hostile":
        assert "its memory is there, 0 done to it" in ran.lines
    assert ran.status == 0
    assert not any(event.get("racy") for event in ran.calls)


def test_a_send_that_waits_ends_with_a_signal(run_as, rule, native, build):
    """With EINTR, or by SA_RESTART not at all."""
    words = build("itself"), "1", "waits"
    ran = run_as("by a user", ("--rules", rule(LOOKS)), *words)
    assert ran.lines == native(*words).lines
    assert "waits: 0 wrong" in ran.lines


def test_memory_that_a_rule_read_itself_is_what_is_sent(run_as, rule, program):
    """A rule may judge what is sent. Then that is performed, and never read again."""
    text = """
    @on(SendTo)
    def judges(call):
        for header in call.headers:
            call.read(header.iov, 16)
        return Allow()
    """
    ran = run_as("by a user", ("--rules", rule(text)), PYTHON, program("whosent.py"), "addressed")
    ways = {" ".join(one.split()[:2]): one.split(" ")[4] for one in ran.lines}
    assert ways == {
        "path sendto": "the",  # of which it has read nothing
        "path sendmsg": "another",
        "abstract sendto": "the",
        "abstract sendmsg": "another",
    }


@pytest.mark.parametrize("rules", SHIPPED, ids=lambda rules: rules[1])
@pytest.mark.parametrize("who", AS)
def test_programs_that_ask_who_it_was(
    who, rules, run_as, native, program, here, monkeypatch, tmp_path_factory
):
    """A D-Bus daemon and its clients, a Wayland-like pair, and Python's multiprocessing."""
    short = tmp_path_factory.mktemp("t")  # a socket's path has at most 107 bytes
    short.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(short))
    for name in ("bus.py", "hands.py"):
        words = PYTHON, program(name)
        alone = native(*AS[who][2], *words, cwd=here)
        ran = run_as(who, rules, *words)
        assert ran.lines == alone.lines, ran.err
        assert len(ran.lines) == 3


@pytest.mark.parametrize("who", ["by a user", "for a user"])
def test_a_browser_with_its_sandbox(who, run_as, here, monkeypatch):
    """Chromium's zygote learns from a message's credentials which child has begun."""
    monkeypatch.setenv("TMPDIR", "/tmp")  # it makes a socket there, whose path must be short
    page = here / "page.html"
    page.write_text("<p id=x></p><script>x.textContent = 'ran ' + 6 * 7</script>")
    browser = "chromium", "--headless", "--disable-gpu", "--no-first-run"
    words = f"--user-data-dir={here}/data", "--dump-dom", f"file://{page}"
    ran = run_as(who, SHIPPED[0], *browser, *words)
    assert "ran 42" in ran.out, ran.err
