"""The journal and the database: what they are given, and what is said of what they miss."""

import json
import os
import socket
import sqlite3
import threading

import pytest

from notifyd.errors import UsageError
from notifyd.events import background
from notifyd.events.background import BackgroundSink, EventWriterError
from notifyd.events.database import COLUMNS, Database, read_events
from notifyd.events.encode import encode_event
from notifyd.events.journal import Journal, entry
from notifyd.events.stream import EventStream


def lines(count: int, start: int = 0) -> bytes:
    """Events with numbers."""
    return b"".join(encode_event("odd", {"number": start + at}) for at in range(count))


class Slow:
    """A writer that waits until it may go on."""

    def __init__(self) -> None:
        self.kept = b""
        self.may = threading.Event()

    def keep(self, data: bytes) -> None:
        assert self.may.wait(20)
        self.kept += data

    def close(self) -> None:
        self.may.set()


def test_in_order(complaints):
    """Everything that was put is kept, in order, before closing returns."""
    keeper = Slow()
    keeper.may.set()
    sink = BackgroundSink(lambda: keeper, "slow", complaints.append)
    for at in range(100):
        sink.put(lines(3, at * 3))
    sink.close()
    numbers = [json.loads(line)["number"] for line in keeper.kept.splitlines()]
    assert numbers == list(range(300))
    assert (sink.lost, complaints) == (0, [])


def test_too_slow(complaints, monkeypatch):
    """What there is no room for is lost, counted, told, and marked where it is missing."""
    monkeypatch.setattr(background, "MAX_SINK_BACKLOG_BYTES", 4000)
    keeper = Slow()
    sink = BackgroundSink(lambda: keeper, "slow", complaints.append)
    for at in range(100):
        sink.put(lines(1, at))
    keeper.may.set()
    while sink._gap:
        pass
    sink.put(lines(1, 100))
    sink.close()
    events = [json.loads(line) for line in keeper.kept.splitlines()]
    missing = sum(event["lines"] for event in events if event["event"] == "audit.lost")
    assert missing == sink.lost > 0
    assert len([event for event in events if event["event"] == "odd"]) == 101 - missing
    assert complaints == [
        "audit: the slow: it is slower than events come; events are being lost there",
        f"audit: {missing} events in all are missing in the slow",
    ]


def test_a_keeper_that_fails(complaints):
    """The engine does not notice; people do."""

    def make():
        raise EventWriterError("is not there")

    sink = BackgroundSink(make, "journal", complaints.append)
    sink.put(lines(3))
    sink.close()
    assert sink.lost == 3
    assert complaints == [
        "audit: the journal: is not there; events are being lost there",
        "audit: 3 events in all are missing in the journal",
    ]


# -- the database


def test_database(tmp_path, make_record, complaints):
    """Calls and other events by their columns, and whole."""
    path = str(tmp_path / "events.db")
    stream = EventStream()
    stream.send_to(BackgroundSink(lambda: Database(path), "database", complaints.append))
    for tid in range(600):
        stream.add(make_record(tid=tid, args={"path": f"/etc/{tid}", "flags": ["a"]}))
    stream.event("arrival.refused", peer="nobody", value=1 << 63)
    stream.close()
    assert complaints == []
    assert os.stat(path).st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as found:
        rows = found.execute(
            "SELECT path, verdict, pid FROM events WHERE event = 'call'"
        ).fetchall()
        assert rows[7] == ("/etc/7", "deny", 4711)
        assert len(rows) == 600
        names = [row[1] for row in found.execute("PRAGMA table_info(events)")]
        assert names == ["id", *COLUMNS]
    found.close()
    read = [json.loads(line) for line in read_events(path)]
    assert [event.get("tid") for event in read] == [*range(600), None]


def test_database_goes_on(tmp_path):
    """A second life appends."""
    path = str(tmp_path / "events.db")
    for turn in range(2):
        database = Database(path)
        database.keep(lines(2, turn * 2))
        database.close()
    assert [json.loads(line)["number"] for line in read_events(path)] == [0, 1, 2, 3]
    assert list(read_events(path, since="3")) == []
    assert list(read_events(path, until="2")) == []


def test_no_database(tmp_path):
    """Anything else is refused in one line."""
    file = tmp_path / "a"
    file.write_text("not a database, but long enough to look like one" * 40)
    with pytest.raises(EventWriterError):
        Database(str(file))
    with pytest.raises(UsageError, match="not a database of events"):
        list(read_events(str(file)))
    with pytest.raises(UsageError, match="is not there"):
        list(read_events(str(tmp_path / "none")))
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 7")
    newer.close()
    with pytest.raises(EventWriterError, match="of version 7"):
        Database(str(tmp_path / "newer"))


# -- the journal


def fields(data: bytes) -> dict[str, str]:
    """An entry, as journald reads it."""
    found = {}
    while data:
        head, _, data = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_entry():
    """A sentence, a priority, and fields of their own."""
    event = {"event": "call", "workload": "web", "verdict": "deny", "how": "answered",
             "syscall": "openat", "operation": "Open", "args": {"path": "/etc/\x1b[31m"},
             "errno": "EACCES", "reason": "two\nlines", "pid": 7, "exe": "/bin/a"}  # fmt: skip
    found = fields(entry(event))
    assert found["MESSAGE"] == "refused openat /etc/\\x1b[31m (EACCES), a[7]: lines"
    assert (found["PRIORITY"], found["SYSLOG_IDENTIFIER"]) == ("5", "notifyd")
    assert (found["NOTIFYD_EVENT"], found["NOTIFYD_WORKLOAD"]) == ("call", "web")
    assert (found["NOTIFYD_REASON"], found["NOTIFYD_PID"]) == ("two\nlines", "7")
    assert json.loads(found["NOTIFYD_LINE"]) == event
    assert fields(entry({"event": "x", "level": "error"}))["PRIORITY"] == "3"
    assert fields(entry(event | {"verdict": "ask"}))["PRIORITY"] == "5"
    assert fields(entry(event | {"verdict": "ask", "how": "performed"}))["PRIORITY"] == "6"
    assert fields(entry(event | {"how": "gone", "errno": None}))["PRIORITY"] == "6"


def test_journal(tmp_path, complaints):
    """Entries arrive as datagrams; what is too large for one, as a file that is sealed."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(20)
        sink = BackgroundSink(lambda: Journal(path), "journal", complaints.append)
        sink.put(lines(1))
        sink.put(encode_event("odd", {f"text{at}": "x" * 8000 for at in range(100)}))
        small, descriptors, _, _ = socket.recv_fds(journal, 1 << 20, 1)
        assert fields(small)["NOTIFYD_EVENT"] == "odd"
        assert descriptors == []
        large, (descriptor,), _, _ = socket.recv_fds(journal, 1 << 20, 1)
        assert large == b""
        with open(descriptor, "rb") as file:
            file.seek(0)
            assert len(fields(file.read())["NOTIFYD_LINE"]) > 800_000
            with pytest.raises(PermissionError):
                os.pwrite(descriptor, b"x", 0)
        sink.close()
    assert complaints == []


def test_no_journal(tmp_path, complaints):
    """Where there is none, it is told."""
    sink = BackgroundSink(lambda: Journal(str(tmp_path / "none")), "journal", complaints.append)
    sink.put(lines(2))
    sink.close()
    assert "is systemd-journald there?" in complaints[0]
