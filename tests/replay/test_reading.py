"""Records are read a line at a time, whatever is in them."""

import gzip
import json

import pytest
from recording import record_of

from notifyd import Open
from notifyd.errors import UsageError
from notifyd.replay import reading
from notifyd.replay.reading import ReadStatistics, read
from notifyd.testing import make_call

GOOD = record_of(make_call(Open, path="/x", syscall="openat"))
FOREIGN = [
    b"[]\n",
    b"3\n",
    b'{"level": "info"}\n',
    b'{"event": 5}\n',
    b'{"event": "user logged in"}\n',
    b'{"event": "user logged in", "pid": "x"}\n',
    b'{"event": "call"}\n',
    b'{"event": "call", "verdict": "perhaps", "syscall": "openat"}\n',
    b'{"event": "call", "verdict": "allow"}\n',
    b'{"event": "call", "verdict": "allow", "syscall": "openat", "args": [1]}\n',
    b'{"event": "call", "verdict": "allow", "syscall": "openat", "pid": "x"}\n',
]
TORN = [
    GOOD.replace(b'"event":"call"', b'"event":"call","reason":"\xed\xa0\xbd"'),  # no UTF-8
    b'{"event": "call", "verd\n',
    b"\x00\x00\x00\n",
    b"\xff\xfe{}\n",
    b"hello\n",
    b'{"a":' * 3000 + b"\n",
]


def counted(path):
    """The events of a file, and what was counted."""
    lines = ReadStatistics()
    return list(read(str(path), lines, lambda: None)), lines


def test_every_event_is_read_in_order(bench):
    """Calls and others, with empty lines between them."""
    start = b'{"event":"workload.started","rules":["a"],"otherwise":"allow","later":1}\n'
    events, lines = counted(bench.record(start, GOOD, b"\n", GOOD))
    assert [event.event for event in events] == ["workload.started", "call", "call"]
    assert (lines.events, lines.torn, lines.foreign, lines.first_bad) == (3, 0, 0, None)


def test_other_events_may_have_such_fields(bench):
    """An errno that is a number, an id that is a text: only a call has to be as a call is."""
    odd = b'{"event":"workload.joined","pid":"x","args":[1],"rules":["a"],"kernel":[1]}\n'
    (event,), lines = counted(bench.record(odd))
    assert (event.rules, event.kernel, lines.foreign) == (["a"], None, 0)


@pytest.mark.parametrize("line", FOREIGN)
def test_what_is_no_event_is_foreign(bench, line):
    """Counted with its place, and the rest is read."""
    path = bench.record(GOOD, line, GOOD)
    events, lines = counted(path)
    assert (len(events), lines.foreign, lines.torn) == (2, 1, 0)
    assert lines.first_bad == f"{path}:2"


@pytest.mark.parametrize("line", TORN, ids=range(len(TORN)))
def test_what_is_no_whole_json_is_torn(bench, line):
    """As the last line of a supervisor that was killed."""
    path = bench.record(GOOD, line, GOOD)
    events, lines = counted(path)
    assert (len(events), lines.torn, lines.foreign) == (2, 1, 0)
    assert lines.first_bad == f"{path}:2"


def test_a_cut_file_loses_its_last_line_only(bench):
    """Wherever it was cut."""
    for end in range(1, len(GOOD) - 1, 37):
        events, lines = counted(bench.record(GOOD, GOOD[:end]))
        assert (len(events), lines.torn + lines.foreign) == (1, 1)


def test_a_line_without_an_end_is_no_reason_to_fill_the_memory(bench, monkeypatch):
    """What is longer than any event is passed over in pieces."""
    monkeypatch.setattr(reading, "MAX_EVENT_LINE_BYTES", len(GOOD) + 10)
    events, lines = counted(bench.record(GOOD, b"x" * 100_000 + b"\n", GOOD))
    assert (len(events), lines.torn) == (2, 1)


def test_gzip_is_read_whatever_the_file_is_called(bench):
    """Rotated files are compressed."""
    events, lines = counted(bench.record(gzip.compress(GOOD * 3), name="old"))
    assert (len(events), lines.torn) == (3, 0)


def test_a_cut_gzip_is_torn(bench):
    """What comes before the cut is read."""
    whole = gzip.compress(GOOD * 200_0, compresslevel=1)
    events, lines = counted(bench.record(whole[: len(whole) // 2]))
    assert 0 < len(events) < 2000
    assert lines.torn >= 1
    wrong = bytearray(whole)
    wrong[-6] ^= 0xFF  # its checksum
    events, lines = counted(bench.record(bytes(wrong)))
    assert (len(events), lines.torn) == (2000, 1)


def test_a_file_that_cannot_be_read_is_said_in_one_line(bench):
    """With its name and a remedy."""
    for path in (bench.folder / "none", bench.folder):
        with pytest.raises(UsageError, match=f"{path}: .*; give a file of --audit"):
            counted(path)


def test_the_share_that_was_read_grows(bench):
    """For people who wait."""
    lines, shares = ReadStatistics(), []
    path = bench.record(GOOD * 5000)
    assert len(list(read(str(path), lines, lambda: shares.append(lines.share)))) == 5000
    assert shares == sorted(shares)
    assert (0 < shares[0] < 0.9, shares[-1]) == (True, 1.0)
    assert json.loads(GOOD)["event"] == "call"
