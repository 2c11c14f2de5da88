import contextlib
import io
import os

import pytest

from notifyd.events.terminal import MAX_SHOWN_KINDS, Failures, Refusals, colorful, describe
from notifyd.target.identity import Identity


@pytest.fixture
def screen():
    """A terminal."""
    return io.StringIO()


def test_line(make_record):
    """A refusal reads as what was refused, to whom, with what and by which rule."""
    record = make_record(
        operation="Connect", syscall="connect", args={"fd": 3, "address": "192.0.2.1:80"},
        rule="connect_allowlist.py:connect",
    )  # fmt: skip
    assert describe(record) == (
        "refused connect 192.0.2.1:80 (EACCES) by connect_allowlist.py:connect, curl[4711]"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"verdict": "kill", "errno": 1}, "killed at openat /etc/shadow by secrets.py:keep, curl"),
        (
            {"verdict": "allow", "errno": 38},
            "failed openat /etc/shadow (ENOSYS) by secrets.py:keep",
        ),
        ({"verdict": "ask"}, "refused openat /etc/shadow (EACCES)"),
        (
            {"rule": None, "args": {"family": "AF_INET"}},
            "refused openat family=AF_INET (EACCES), c",
        ),
        ({"args": None, "identity": None, "rule": None}, "refused openat (EACCES), thread 4712"),
        (
            {"reason": "too slow"},
            "refused openat /etc/shadow (EACCES) by secrets.py:keep, curl[4711]: too slow",
        ),
        (
            {"reason": "Traceback\n  File\nx.py:3: ValueError: no"},
            "refused openat /etc/shadow (EACCES) by secrets.py:keep, curl[4711]: x.py:3: ValueErr",
        ),
        (
            {"reason": 5},
            "refused openat /etc/shadow (EACCES) by secrets.py:keep, curl[4711]: 5",
        ),
    ],
)
def test_other_lines(make_record, changes, line):
    """Killed and failed calls have their own verbs, and what is unknown is left out."""
    assert describe(make_record(**changes)).startswith(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "allow", "how": "continued", "errno": 0},
        {"verdict": "allow", "how": "performed", "errno": 2},
        {"verdict": "return", "errno": 0},
        {"how": "gone"},
    ],
)
def test_not_refused(make_record, screen, changes):
    """What went its way is not shown, nor a performed call that the kernel refused."""
    Refusals(screen).add(make_record(**changes))
    assert screen.getvalue() == ""


def test_once(make_record, screen):
    """The same refusal is shown once and then counted, whichever thread meets it."""
    refusals = Refusals(screen)
    for tid in range(5):
        refusals.add(make_record(tid=tid, identity=Identity(tid, tid, 1, tid, b"/bin/x", 0, 0)))
    refusals.add(make_record(errno=1))
    assert screen.getvalue().count("\n") == 2
    assert refusals.summary() == [
        "5 times: refused openat /etc/shadow (EACCES) by secrets.py:keep, x[0]"
    ]


def test_at_most_so_many(make_record, screen):
    """After twenty different lines one more says that the rest is only counted."""
    refusals = Refusals(screen)
    for number in range(MAX_SHOWN_KINDS + 100):
        refusals.add(make_record(args={"path": f"/{number}"}))
    lines = screen.getvalue().splitlines()
    assert len(lines) == MAX_SHOWN_KINDS + 1
    assert lines[-1] == "notifyd: further refusals are only counted"
    assert refusals.summary() == ["100 further refusals were not shown"]
    assert len(refusals._seen) == MAX_SHOWN_KINDS


def test_rules_that_fail(screen):
    """Each rule's kind of error once, with the last line of its traceback; a count at the end."""
    failures = Failures(screen)
    for number in range(5):
        failures.add("a.py:f", f"Traceback\n  File\na.py:3: KeyError: {number}")
    failures.add("a.py:f", "a.py:4: TypeError: no")
    failures.add("b.py:f", "a.py:4: TypeError: no\x1b[2J")
    for number in range(MAX_SHOWN_KINDS * 2):
        failures.add(f"{number}.py:f", "TimeoutError: no verdict")
    failures.end()
    first, second, third, *_, last = screen.getvalue().splitlines()
    assert first == "notifyd: a.py:f failed: a.py:3: KeyError: 0"
    assert second == "notifyd: a.py:f failed: a.py:4: TypeError: no"
    assert third.isprintable()
    assert last == "notifyd: 5 times: a.py:f failed: a.py:3: KeyError: 0"
    assert len(screen.getvalue().splitlines()) == MAX_SHOWN_KINDS + 1


def test_hostile_text(make_record, screen):
    """A target cannot move the cursor, forge a line or turn the writing round."""
    evil = "/\x1b[2J\r\nnotifyd: all is well\u202e" + "x" * 10_000
    exe = b"/bin/\x1b]0;gotcha\x07\xff"
    record = make_record(args={"path": evil}, reason=evil, identity=Identity(1, 1, 1, 1, exe, 0, 0))
    Refusals(screen).add(record)
    line = screen.getvalue()
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert len(line) < 700


def test_color(make_record, screen):
    """On a terminal with colours the verb stands out, and only that."""
    Refusals(screen, color=True).add(make_record())
    assert screen.getvalue().startswith("notifyd: \x1b[31mrefused\x1b[0m openat ")


@pytest.mark.parametrize(
    ("variables", "welcome"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colors_are_welcome(screen, monkeypatch, variables, welcome):
    """On a terminal that has some, unless somebody wants none; never elsewhere."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    main, other = os.openpty()
    with open(main, "rb"), open(other, "w") as terminal:
        assert colorful(terminal) == welcome
    assert not colorful(screen)


def test_broken_terminal(make_record):
    """A terminal that is gone stops the showing, not the engine."""
    with contextlib.suppress(OSError), open("/dev/full", "w") as stream:
        refusals = Refusals(stream)
        refusals.add(make_record())
        refusals.add(make_record())
    assert refusals.summary()[0].startswith("2 times: ")
