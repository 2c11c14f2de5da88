import errno
import fcntl
import os
import resource
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifyd.errors import UsageError
from notifyd.events import chain_writer, jsonl
from notifyd.events.jsonl import JsonLines
from notifyd.events.stream import FLUSH_BATCH_SIZE


@contextmanager
def fifo(folder: Path, complain, size: int = 4096):
    """A FIFO with a small buffer: its reading end, and a sink into it."""
    path = folder / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, size)
    try:
        with JsonLines.open(path, complain) as sink:
            yield reader, sink
    finally:
        os.close(reader)


@contextmanager
def file_limit(size: int):
    """No file of this process grows beyond `size`: a full disk in small."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def read_all(reader: int) -> bytes:
    """What is in a FIFO now."""
    pieces = []
    while True:
        try:
            piece = os.read(reader, 1 << 20)
        except BlockingIOError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def test_order(sink, tmp_path, make_record, parse):
    """Calls and other events stand in the order in which they came."""
    sink.event("workload.started", workload="w1")
    sink.add(make_record(tid=1))
    sink.add(make_record(tid=2))
    sink.event("workload.ended", status=0)
    sink.add(make_record(tid=3))
    sink.flush()
    lines = parse((tmp_path / "audit.jsonl").read_bytes())
    assert [line.get("tid", line["event"]) for line in lines] == [
        "workload.started", 1, 2, "workload.ended", 3,
    ]  # fmt: skip


def test_field_names_are_free(sink, tmp_path, parse):
    """A field may be called name or self."""
    sink.event("odd", name="n", self="s")
    sink.flush()
    (line,) = parse((tmp_path / "audit.jsonl").read_bytes())
    assert (line["event"], line["name"], line["self"]) == ("odd", "n", "s")


def test_batches(sink, tmp_path, make_record, parse):
    """Nothing is written before the batch is full, and then all of it."""
    path = tmp_path / "audit.jsonl"
    for tid in range(FLUSH_BATCH_SIZE - 1):
        sink.add(make_record(tid=tid))
    assert path.stat().st_size == 0
    sink.add(make_record(tid=FLUSH_BATCH_SIZE - 1))
    assert len(parse(path.read_bytes())) == FLUSH_BATCH_SIZE


def test_close_flushes_and_is_repeatable(tmp_path, make_record, parse, complaints):
    """Closing writes what is left; doing it again does nothing, and nothing is complained of."""
    path = tmp_path / "a"
    sink = JsonLines.open(path, complaints.append)
    sink.add(make_record())
    sink.close()
    sink.close()
    sink.add(make_record())
    sink.flush()
    assert len(parse(path.read_bytes())) == 1
    assert (sink.lost, complaints) == (0, [])


def test_new_file_is_private(sink, tmp_path):
    """A new audit file is its owner's alone, and its descriptor is not inherited."""
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(sink._ledger.descriptor)


def test_appends(tmp_path, parse):
    """An old file keeps what it holds."""
    path = tmp_path / "a"
    path.write_bytes(b'{"event":"old"}\n')
    with JsonLines.open(path) as sink:
        sink.event("new")
    assert [line["event"] for line in parse(path.read_bytes())] == ["old", "new"]


def test_directory_is_refused(tmp_path):
    """A directory is a usage error that says what to do."""
    with pytest.raises(UsageError, match="is a directory; name a file in it"):
        JsonLines.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("no/such/a", "does not exist; make that first"), ("a\0b", "name a file that you may write")],
)
def test_bad_name(tmp_path, name, remedy):
    """A name that leads nowhere is a usage error of one line."""
    with pytest.raises(UsageError, match=remedy) as caught:
        JsonLines.open(f"{tmp_path}/{name}")
    assert "\n" not in str(caught.value)


def test_socket_is_refused(tmp_path):
    """A socket in the file system cannot be opened, and the error says so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        with pytest.raises(UsageError, match="not a socket"):
            JsonLines.open(tmp_path / "s")


@pytest.mark.root
def test_disk_is_refused(tmp_path):
    """A block device is refused before anything is written to it."""
    node = tmp_path / "ram"
    before = set(os.listdir("/proc/self/fd"))
    os.mknod(node, 0o60600, os.makedev(7, 0))  # loop0
    with pytest.raises(UsageError, match="is a disk"):
        JsonLines.open(node)
    assert set(os.listdir("/proc/self/fd")) == before


def test_own_link_is_followed(tmp_path):
    """A link of ours leads to its file, as /dev/fd/N does."""
    (tmp_path / "link").symlink_to("real")
    with JsonLines.open(tmp_path / "link") as sink:
        sink.event("x")
    assert (tmp_path / "real").stat().st_size > 0


@pytest.mark.root
def test_link_of_another_is_refused(tmp_path):
    """A link that somebody else laid is not followed."""
    (tmp_path / "link").symlink_to("real")
    os.lchown(tmp_path / "link", 12345, 12345)
    with pytest.raises(UsageError, match="another user's link"):
        JsonLines.open(tmp_path / "link")
    assert not (tmp_path / "real").exists()


def test_fifo_without_reader(tmp_path):
    """A FIFO that nobody reads is a usage error at once, not a hang."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="has no reader"):
        JsonLines.open(tmp_path / "fifo")


def test_slow_reader_gets_everything_later(tmp_path, make_record, parse, complaints):
    """What a full FIFO does not take waits, torn line and all, and comes once there is room."""
    with fifo(tmp_path, complaints.append) as (reader, sink):
        for tid in range(40):
            sink.add(make_record(tid=tid))
        sink.flush()
        data = read_all(reader)
        assert 0 < len(data) <= 4096
        while sink._ledger.waiting:
            sink.flush()
            data += read_all(reader)
        assert [line["tid"] for line in parse(data)] == list(range(40))
        assert (sink.lost, complaints) == (0, [])


def test_backlog_is_bounded(tmp_path, make_record, parse, complaints):
    """A reader that stays away costs events, not memory; the gap is marked where it is."""
    with fifo(tmp_path, complaints.append) as (reader, sink):
        for tid in range(2000):
            sink.add(make_record(tid=tid))
        sink.flush()
        assert sink.lost > 0
        assert len(sink._ledger._waiting) <= chain_writer.MAX_UNWRITTEN_BYTES
        lost = sink.lost
        data = read_all(reader)
        while sink._ledger.waiting:
            sink.flush()
            data += read_all(reader)
        sink.add(make_record(tid=9999))
        sink.flush()
        data += read_all(reader)
    lines = parse(data)
    marks = [line for line in lines if line["event"] == "audit.lost"]
    calls = [line["tid"] for line in lines if line["event"] == "call"]
    assert sum(mark["lines"] for mark in marks) == lost
    assert marks[0]["error"] == "EAGAIN"
    assert calls == [*range(2000 - lost), 9999]


def test_reader_leaves(tmp_path, make_record, complaints):
    """When the reader goes, events are lost, counted and told, and nothing is raised."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonLines.open(path, complaints.append)
    os.close(reader)
    for _ in range(3):
        sink.add(make_record())
        sink.flush()
    sink.close()
    assert sink.lost == 3
    assert [text.rpartition(": ")[2] for text in complaints[:1]] == [
        "Broken pipe; events are being lost"
    ]
    assert complaints[1:] == [f"audit: 3 events in all are missing in {str(path)!r}"]


def test_close_waits_for_a_reader_that_reads(tmp_path, make_record, parse, complaints):
    """Closing gives a living reader the time to take the rest."""
    data = []
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = threading.Thread(target=lambda: data.append(path.read_bytes()))
    reading.start()
    with path.open("wb"):  # returns when the reader is there, and keeps it
        sink = JsonLines.open(path, complaints.append)
    for tid in range(600):
        sink.add(make_record(tid=tid))
    sink.close()
    reading.join()
    assert [line["tid"] for line in parse(data[0])] == list(range(600))
    assert complaints == []


def test_close_does_not_wait_for_ever(tmp_path, make_record, complaints, monkeypatch):
    """Closing gives up on a reader that does not read."""
    monkeypatch.setattr(jsonl, "LOG_CLOSE_TIMEOUT_S", 0.01)
    with fifo(tmp_path, complaints.append) as (_, sink):
        for _ in range(100):
            sink.add(make_record())
        sink.close()
        assert 0 < sink.lost < 100
        assert len(complaints) == 2


def test_full_disk(make_record, complaints):
    """On a full disk the engine goes on; the first loss and the total are told, once each."""
    with JsonLines.open("/dev/full", complaints.append) as sink:
        for _ in range(FLUSH_BATCH_SIZE * 2 + 5):
            sink.add(make_record())
        sink.event("workload.ended", status=0)
    assert sink.lost == FLUSH_BATCH_SIZE * 2 + 6
    assert complaints == [
        "audit: '/dev/full': No space left on device; events are being lost",
        f"audit: {FLUSH_BATCH_SIZE * 2 + 6} events in all are missing in '/dev/full'",
    ]


def test_disk_has_room_again(sink, tmp_path, make_record, parse, complaints):
    """A line that the full disk tore is completed, and what is missing after it is marked."""
    path = tmp_path / "audit.jsonl"
    with file_limit(1300):
        for tid in range(10):
            sink.add(make_record(tid=tid))
        sink.flush()
        assert path.stat().st_size == 1300
    sink.add(make_record(tid=10))
    sink.flush()
    lines = parse(path.read_bytes())
    assert [line.get("tid", line["event"]) for line in lines] == [0, 1, 2, "audit.lost", 10]
    assert lines[3]["lines"] == sink.lost == 7
    assert lines[3]["error"] == errno.errorcode[errno.EFBIG]
    assert len(complaints) == 1


def test_torn_end_counts_as_lost(tmp_path, make_record, complaints):
    """A line that stays torn at the end is one that is missing."""
    with file_limit(1300):
        sink = JsonLines.open(tmp_path / "a", complaints.append)
        for tid in range(10):
            sink.add(make_record(tid=tid))
        sink.close()
    assert sink.lost == 8


def test_complains_to_stderr(make_record, capsys):
    """Without a callback the person at the terminal is told."""
    with JsonLines.open("/dev/full") as sink:
        sink.add(make_record())
    assert capsys.readouterr().err.splitlines() == [
        "notifyd: audit: '/dev/full': No space left on device; events are being lost",
        "notifyd: audit: 1 events in all are missing in '/dev/full'",
    ]
