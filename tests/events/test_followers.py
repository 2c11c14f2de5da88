"""Live readers: what each is given, and what is said of what it was not."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.events.followers import EventFilter, Follower
from notifyd.events.jsonl import JsonLines
from notifyd.events.stream import FLUSH_BATCH_SIZE, EventStream


def texts(data: bytes) -> list[dict]:
    """The events of some lines."""
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def stream() -> EventStream:
    """One without a file."""
    return EventStream()


def test_in_order(stream, make_record):
    """A reader gets calls and other events as they come, from when it came to when it left."""
    stream.add(make_record(tid=1))
    follower = stream.follow(EventFilter(), lambda: None)
    stream.event("workload.started", workload="w1")
    stream.add(make_record(tid=2))
    stream.add(make_record(tid=3))
    stream.event("workload.ended", workload="w1")
    stream.add(make_record(tid=4))
    stream.leave(follower)
    stream.add(make_record(tid=5))
    stream.flush()
    told = [line.get("tid", line["event"]) for line in texts(follower.take())]
    assert told == ["workload.started", 2, 3, "workload.ended", 4]
    assert follower.take() == b""


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (EventFilter(), [1, 2, 3, "workload.ended", "arrival.refused"]),
        (EventFilter(workload="web-*"), [1, 2, "workload.ended"]),
        (EventFilter(workload="web-1"), [1, "workload.ended"]),
        (EventFilter(operation="Conn*"), [2]),
        (EventFilter(verdict="deny"), [1, 3]),
        (EventFilter(verdict="[!d]*"), [2]),
        (EventFilter(event="call"), [1, 2, 3]),
        (EventFilter(event="workload.*"), ["workload.ended"]),
        (EventFilter(workload="web-?", verdict="deny"), [1]),
        (EventFilter(event="workload.*", verdict="deny"), []),
    ],
)
def test_filters(stream, make_record, wanted, told):
    """All that is given has to fit; what has no such field does not."""
    follower = stream.follow(wanted, lambda: None)
    stream.add(make_record(tid=1, workload="web-1"))
    stream.add(make_record(tid=2, workload="web-2", operation="Connect", verdict="allow"))
    stream.add(make_record(tid=3, workload="db"))
    stream.event("workload.ended", workload="web-1")
    stream.event("arrival.refused", reason="no")
    stream.flush()
    assert [line.get("tid", line["event"]) for line in texts(follower.take())] == told


def test_a_slow_reader(make_record):
    """What does not fit is counted, and told where the gap is; then all goes on."""
    stream = EventStream()
    follower = Follower(EventFilter(), lambda: None, most=1000)
    stream._followers.append(follower)
    for tid in range(100):
        stream.add(make_record(tid=tid))
    stream.event("workload.ended")  # small enough, but later than what is lost
    stream.flush()
    *there, gap = texts(follower.take())
    assert [line["tid"] for line in there] == list(range(len(there)))
    assert (gap["event"], gap["lines"], gap["error"]) == ("audit.lost", 101 - len(there), "ENOBUFS")
    stream.add(make_record(tid=1000))
    stream.flush()
    assert [line["tid"] for line in texts(follower.take())] == [1000]


def test_it_is_woken_for_what_it_wants_alone(stream, make_record):
    """And not for what others do."""
    rung = []
    follower = stream.follow(EventFilter(verdict="allow"), lambda: rung.append(1))
    stream.add(make_record())
    stream.flush()
    assert rung == []
    stream.add(make_record(verdict="allow"))
    stream.flush()
    assert rung == [1]
    stream.leave(follower)


def test_a_full_batch_is_handed_on(stream, make_record):
    """Without being asked."""
    follower = stream.follow(EventFilter(), lambda: None)
    for tid in range(FLUSH_BATCH_SIZE):
        stream.add(make_record(tid=tid))
    assert len(texts(follower.take())) == FLUSH_BATCH_SIZE
    stream.leave(follower)


def test_the_file_and_all_readers_get_the_same(tmp_path, make_record):
    """Byte for byte, whatever targets have put into it; only the file has numbers and digests."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path) as sink:
        readers = [sink.follow(EventFilter(), lambda: None) for _ in range(2)]
        for tid, text in enumerate(("/a\nb\r\x1b[31m", "\ud800", "x" * 20_000, "/\u2028é")):
            sink.add(make_record(tid=tid, args={"path": text}))
        sink.event("odd", text="\x85\n")
        sink.flush()
        lines = path.read_bytes().splitlines(keepends=True)[1:]  # after `audit.begun`
        data = re.sub(rb',"seq":\d+,"chain":"[0-9a-f]{64}"}\n', b"}\n", b"".join(lines))
        assert [reader.take() for reader in readers] == [data, data]
    assert len(texts(data)) == 5


@given(st.text(max_size=256), st.text(max_size=300))
def test_any_glob(glob, workload):
    """No pattern breaks the daemon."""
    follower = Follower(EventFilter(workload=glob), lambda: None)
    follower.event("x", {"workload": workload}, b"{}\n")
    follower.event("x", {}, b"{}\n")
    assert follower.take() in ((b"", b"{}\n") if glob else (b"{}\n" * 2,))
