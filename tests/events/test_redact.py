"""Fields that nobody gets to see: not the file, not a live reader."""

import json

import pytest

from notifyd.events.event import undeclared
from notifyd.events.followers import EventFilter
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.record import Line
from notifyd.events.redact import HIDDEN, UNREDACTED_FIELDS, Redactor


@pytest.fixture
def hiding(tmp_path):
    """What a file and a reader get of a record: `hiding(record, "args.*")`."""

    def write(record, *globs):
        path = tmp_path / "a"
        with JsonLines.open(path, print, LogSettings(redactor=Redactor(globs))) as sink:
            reader = sink.follow(EventFilter(), lambda: None)
            sink.add(record)
            sink.event("workload.started", command=["a", "secret"], annotations={"token": "secret"})
            sink.flush()
            both = path.read_bytes(), reader.take()
        found = [json.loads(line) for line in both[1].splitlines()]
        assert (b"secret" in both[0]) == (b"secret" in both[1])
        return found

    return write


def test_marked(hiding, make_record):
    """Each hidden field has a mark instead, and the event lists them."""
    args = {"path": "/home/a", "flags": "O_RDONLY"}
    call, started = hiding(make_record(args=args), "args.path", "exe", "command", "annotations.*")
    assert call["args"] == {"path": HIDDEN, "flags": "O_RDONLY"}
    assert call["exe"] == HIDDEN
    assert call["redacted"] == ["exe", "args.path"]
    assert (started["command"], started["annotations"]) == (HIDDEN, {"token": HIDDEN})
    assert undeclared("call", call) == ()


def test_everything(hiding, make_record):
    """What a record cannot do without stays."""
    call, _ = hiding(make_record(), "*")
    shown = {name for name, value in call.items() if value != HIDDEN and name != "args"}
    assert shown <= UNREDACTED_FIELDS
    assert set(call["args"].values()) == {HIDDEN}


def test_a_whole_table(hiding, make_record):
    """`args` alone hides all arguments."""
    call, _ = hiding(make_record(), "args")
    assert set(call["args"].values()) == {HIDDEN}


def test_nothing(hiding, make_record):
    """Nothing fits: nothing is marked."""
    call, started = hiding(make_record(), "args.adress")
    assert "redacted" not in call
    assert "redacted" not in started


def test_the_record_s_own_arguments_stay(make_record):
    """Somebody else may hold them."""
    args = {"path": "/x"}
    Redactor(["args.*"]).line(Line(args=args))
    assert args == {"path": "/x"}
