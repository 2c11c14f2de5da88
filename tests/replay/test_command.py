"""`notifyd replay` as a person or a CI calls it: output, exit status, terminal."""

import contextlib
import errno
import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest
from recording import record_of

from notifyd import Connect, Open, Unlink
from notifyd.testing import make_call

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

READ = record_of(make_call(Open, path="/etc/passwd", syscall="openat"))
WRITE = record_of(make_call(Open, path="/etc/motd", flags=os.O_WRONLY, syscall="openat"))
REMOVED = record_of(make_call(Unlink, path="/x"), "deny", errno=errno.EROFS, reason="no\nway")
EVIL = b"/\x1b]0;evil\x07\xe2\x80\xae" + b"x" * 300
ATTACK = record_of(make_call(Open, path=EVIL, flags=os.O_WRONLY, syscall="openat"))
STARTED = b'{"event":"workload.started","rules":["readonly"],"otherwise":"allow"}\n'
LOADED = b'{"event":"rules.loaded","rules":["readonly"],"kernel":["Mount","\\u001b[2J"]}\n'
NO_WRITING = """
    import errno
    from notifyd import Allow, Connect, Deny, Open, Unlink, always, on

    always(Deny(errno.EPERM), Connect)

    @on(Open, Unlink)
    def no_writing(call):
        if isinstance(call, Open):
            return Deny(errno.EROFS, reason="no writing") if call.writes else Allow()
        return Deny(errno.EROFS) if str(call.path) == "/x" else Allow()
"""

WATCHING = """
    from notifyd import Connect, Continue, on

    @on(Connect)
    def watching(call):
        call.address
        return Continue()
"""


@pytest.fixture
def rules(bench):
    """The rule file that is tried."""
    return bench.rules(NO_WRITING)


def test_nothing_changes_and_the_status_is_0(bench, rules):
    """One line says so."""
    ran = bench.replay("--rules", rules, bench.record(READ, READ), status=0)
    assert ran.out.splitlines()[0] == "2 calls: 2 stay the same, 0 would change"
    assert ran.err == ""


def test_a_change_is_shown_and_the_status_is_1(bench, rules):
    """A table with counts, and an example each; what cannot be told apart from it."""
    path = bench.record(STARTED, LOADED, READ, WRITE, WRITE, REMOVED)
    ran = bench.replay("--rules", rules, path, status=1)
    lines = ran.out.splitlines()
    assert lines[0] == "4 calls: 1 stay the same, 2 would change, 1 cannot be told"
    assert lines[2].split() == ["operation", "recorded", "now", "calls", "for", "example"]
    assert lines[3].split()[:5] == ["Open", "allow", "deny", "EROFS", "2"]
    assert lines[6].split()[:5] == ["Unlink", "deny", "EROFS", "path", "1"]
    assert "recorded with readonly" in lines
    assert "rules are also about Connect: the record has none of these" in ran.out
    assert "the kernel decided Mount, \\x1b[2J when this was recorded" in ran.out


def test_json_says_the_same(bench, rules):
    """With every count, and the example in full."""
    path = bench.record(STARTED, LOADED, READ, WRITE, WRITE, REMOVED, b"torn\n", b"{}\n")
    data = bench.data("--rules", rules, path, status=1)
    counts = {name: data[name] for name in ("calls", "same", "changes", "untold", "undecided")}
    assert counts == {"calls": 4, "same": 1, "changes": 2, "untold": 1, "undecided": 0}
    change, untold = data["rows"]
    assert (change["operation"], change["before"], change["after"]) == (
        "Open",
        "allow",
        "deny EROFS",
    )
    assert (change["count"], change["example"]["reason"]) == (2, "no writing")
    assert (untold["result"], untold["missing"]) == ("cannot be told", "path")
    assert (data["torn"], data["foreign"], data["first_bad"]) == (1, 1, f"{path}:7")
    assert data["recorded_rules"] == ["readonly"]
    assert data["not_in_record"] == ["Connect"]


def test_all_shows_every_call(bench, rules):
    """As lines, or as one object a line with the summary last."""
    path = bench.record(READ, WRITE, WRITE, REMOVED)
    ran = bench.replay("--rules", rules, "--all", path, status=1)
    told = [line for line in ran.out.splitlines() if line.startswith("2023-11-14T22:13:20")]
    assert [("-> deny EROFS" in line, "cannot be told: path" in line) for line in told] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert all("by new.py:no_writing: no writing" in line for line in told[:2])
    ran = bench.replay("--rules", rules, "--all", "--json", path, status=1)
    *calls, summary = map(json.loads, ran.out.splitlines())
    assert [one["call"]["operation"] for one in calls] == ["Open", "Open", "Unlink"]
    assert summary["summary"]["calls"] == 4


def test_what_rules_print_is_not_in_the_json(bench):
    """When they are loaded, and when they decide; it is for whoever writes them."""
    printing = NO_WRITING.replace(
        "def no_writing(call):", "def no_writing(call):\n        print(1)"
    )
    rules = bench.rules("print('loaded')\n" + textwrap.dedent(printing))
    for every in ((), ("--all",)):
        ran = bench.replay("--rules", rules, "--json", *every, bench.record(WRITE), status=1)
        assert [json.loads(line) for line in ran.out.splitlines()]
        assert ran.err == "loaded\n1\n"


def test_hostile_text_moves_nothing(bench, rules):
    """Escape sequences and marks of direction are shown, and done nowhere."""
    path = bench.record(ATTACK, STARTED.replace(b"readonly", b"\\u001b[31m"))
    for options in ((), ("--all",), ("--json",), ("--json", "--all")):
        ran = bench.replay("--rules", rules, *options, path, status=1)
        assert "evil" in ran.out
        assert all(one.isprintable() for one in ran.out.split("\n")), options


def test_several_files_count_together(bench, rules):
    """In their order, with rules that fail told once."""
    first, second = bench.record(READ, name="1"), bench.record(WRITE, name="2")
    failing = bench.rules("from notifyd import Open, on\n@on(Open)\ndef r(call): 1 / 0\n", "f.py")
    data = bench.data("--rules", failing, first, second, status=1)
    assert (data["calls"], data["changes"], data["rules_failed"]) == (2, 2, 2)
    assert data["first_failure"].startswith("f.py:r: f.py:3: ZeroDivisionError: ")


def test_options_otherwise_and_strict_are_those_of_run(bench):
    """The rule set is loaded as it would be in force."""
    connect = record_of(make_call(Connect, address="192.0.2.7:443", fd=3))
    path = bench.record(connect)
    to = ("--rules", "connect-allowlist", "--option")
    assert bench.data(*to, "to=192.0.2.7:443", path, status=0)["same"] == 1
    assert bench.data(*to, "to=192.0.2.8", path, status=1)["changes"] == 1
    silent = bench.rules("from notifyd import Connect, on\n@on(Connect)\ndef r(call): pass\n")
    assert bench.data("--rules", silent, path, status=0)["same"] == 1
    assert bench.data("--rules", silent, "--otherwise", "deny", path, status=1)["changes"] == 1
    watching = bench.rules(WATCHING, "watch.py")
    seen = bench.record(record_of(make_call(Connect, address="192.0.2.7:443"), "continue"))
    assert bench.data("--rules", watching, seen, status=0)["same"] == 1
    assert bench.data("--rules", watching, "--strict", seen, status=1)["changes"] == 1


def test_one_workload_of_several(bench, rules):
    """A daemon's record has workloads that other rules are for."""
    other = WRITE.replace(b"tool-1000", b"other-2")
    path = bench.record(READ, WRITE, other, other)
    assert bench.data("--rules", rules, path, status=1)["changes"] == 3
    data = bench.data("--rules", rules, "--workload", "other-2", path, status=1)
    assert (data["calls"], data["changes"]) == (2, 2)
    both = ("--workload", "other-2", "--workload", "tool-1000")
    assert bench.data("--rules", rules, *both, path, status=1)["calls"] == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["calls.jsonl"], "--rules"),
        (["--rules", "audit-exec"], "AUDIT.jsonl"),
        (["--rules", "audit-exec", "none.jsonl"], f"none.jsonl: {os.strerror(errno.ENOENT)}"),
        (["--rules", "audit-exec", "new.py"], "no event of notifyd in new.py"),
        (["--rules", "audit-exex", "calls.jsonl"], "did you mean 'audit-exec'?"),
        (["--rules", "new.py", "--option", "x=1", "calls.jsonl"], "no option 'x'"),
    ],
)
def test_usage_errors_have_status_2(bench, rules, words, says):
    """One line with the remedy."""
    bench.record(READ)
    ran = bench.replay(*words, status=2)
    assert says in ran.err
    assert ran.out == ""


def test_a_terminal_sees_how_far_it_is(bench, rules):
    """On standard error, one line that goes away; elsewhere nothing."""
    path = bench.record((READ + WRITE) * 8000)
    leader, follower = pty.openpty()
    with open(leader, "rb", buffering=0) as terminal:
        words = [sys.executable, "-m", "notifyd", "replay", "--rules", str(rules), str(path)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=follower) as process:
            os.close(follower)
            out = process.communicate(timeout=60)[0]
        shown = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while piece := terminal.read(1 << 16):
                shown += piece
    assert b"16000 calls: 8000 stay the same, 8000 would change" in out
    assert b"calls.jsonl" in shown
    assert shown.endswith(b"\r\x1b[K")
    assert b"\n" not in shown
