"""Keeping a log: rotation, one writer at a time, crashes, a full disk. Nothing is lost unsaid."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from notifyd.errors import UsageError
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.reading import files_of, lines_of
from notifyd.events.rotation import RotationPolicy
from notifyd.events.signing import Signer
from notifyd.events.verify import verify


def calls(files: list[str]) -> list[int]:
    """The threads of all calls in some files."""
    events = [json.loads(line) for file in files for line in lines_of(file)]
    return [event["tid"] for event in events if event["event"] == "call"]


def whole(path: Path, **more) -> list[str]:
    """The files of a log, after a look that nothing is wrong with them."""
    files = files_of([str(path)])
    assert [str(one) for one in verify(files, **more).findings] == []
    return files


@pytest.mark.parametrize("compress", [False, True])
def test_rotation_by_size(tmp_path, make_record, complaints, compress):
    """No event is lost, no file is much larger, and each is the continuation of the one before."""
    path = tmp_path / "audit.jsonl"
    keeping = RotationPolicy(max_size=20_000, compress=compress)
    signer = Signer.open(str(tmp_path / "key"))
    with JsonLines.open(path, complaints.append, LogSettings(keeping, signer)) as sink:
        for tid in range(2000):
            sink.add(make_record(tid=tid))
            if tid % 7 == 0:
                sink.flush()
    files = whole(path, key=signer.public)
    assert calls(files) == list(range(2000))
    assert complaints == []
    sizes = [len(b"".join(lines_of(file))) for file in files]
    assert max(sizes) < 25_000
    assert sum(file.endswith(".gz") for file in files) == (len(files) - 1 if compress else 0)


def test_only_some_are_kept(tmp_path, make_record):
    """The oldest go first; what is left says where it begins, and is good."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path, print, LogSettings(RotationPolicy(keep=2))) as sink:
        for tid in range(60):
            sink.add(make_record(tid=tid))
            if tid % 10 == 9:
                assert sink.rotate()
                sink._rotation.close()
    files = whole(path)
    assert len(files) == 3
    assert calls(files) == list(range(40, 60))


def test_rotation_by_age(tmp_path, make_record, monkeypatch):
    """A file that is old enough is followed by another, without an event if need be."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path, print, LogSettings(RotationPolicy(max_age=3600))) as sink:
        sink.add(make_record())
        sink.tick()
        assert len(files_of([str(path)])) == 1
        late = time.time() + 3601
        monkeypatch.setattr(time, "time", lambda: late)
        sink.tick()
    assert len(whole(path)) == 2


def test_somebody_else_has_moved_it(tmp_path, make_record):
    """As logrotate does: the new file is begun, and nothing else is renamed."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path) as sink:
        sink.add(make_record(tid=1))
        sink.flush()
        path.rename(tmp_path / "audit.jsonl.1")
        sink.add(make_record(tid=2))
        assert sink.rotate()
        sink.add(make_record(tid=3))
    assert calls([f"{path}.1", str(path)]) == [1, 2, 3]
    assert verify([f"{path}.1", str(path)]).is_good


def test_rotation_that_fails(tmp_path, make_record, complaints):
    """The old file grows on; it is told once."""
    path = tmp_path / "folder" / "audit.jsonl"
    path.parent.mkdir()
    with JsonLines.open(
        path, complaints.append, LogSettings(RotationPolicy(max_size=4096))
    ) as sink:
        for tid in range(100):
            if tid == 5:
                path.parent.rename(tmp_path / "moved")
                path.parent.mkdir()
                path.parent.joinpath("audit.jsonl").mkdir()
            sink.add(make_record(tid=tid))
            sink.flush()
    moved = tmp_path / "moved" / "audit.jsonl"
    assert calls([str(moved)]) == list(range(100))
    assert len(complaints) == 1
    assert "cannot be rotated" in complaints[0]


def test_one_writer(tmp_path):
    """A second one is refused with one line, and may have the file afterwards."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path), pytest.raises(UsageError, match="written by another notifyd"):
        JsonLines.open(path)
    JsonLines.open(path).close()


def test_a_log_that_is_written_needs_no_end(sink, tmp_path, make_record):
    """`verify` sees that somebody writes it."""
    sink.add(make_record())
    sink.flush()
    report = verify([str(tmp_path / "audit.jsonl")])
    assert report.is_good
    assert report.notes == [f"{tmp_path}/audit.jsonl is being written"]


WRITER = """
    import sys
    from notifyd.events.jsonl import JsonLines, LogSettings
    from notifyd.events.rotation import RotationPolicy
    from notifyd.events.signing import Signer
    path, size = sys.argv[1], int(sys.argv[2])
    manner = LogSettings(RotationPolicy(max_size=size, compress=True), Signer.open(path + ".key"))
    sink = JsonLines.open(path, manner=manner)
    number = 0
    while True:
        number += 1
        sink.event("odd", number=number, text="x" * (number % 300))
        sink.flush()
        print(number, flush=True)
"""


@pytest.mark.parametrize("size", [0, 20_000])
def test_killed_in_the_midst(tmp_path, size):
    """What was flushed is there, over and over; what the next writer finds torn, it tells."""
    path = tmp_path / "audit.jsonl"
    for turn in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(size)],
            stdout=subprocess.PIPE,
        )
        for _ in range(40 + 37 * turn):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        said = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        if turn % 2:  # the machine went down with half a line on the disk
            with path.open("ab") as file:
                file.write(b'{"event":"odd","time":"20')
        del said
    assert [one.kind for one in verify(files_of([str(path)])).findings][-1] in ("cut", "torn")
    with JsonLines.open(path) as sink:
        sink.event("last")
    files = whole(path)
    events = [json.loads(line) for file in files for line in lines_of(file) if b'"odd"' not in line]
    torn = [event for event in events if event.get("torn")]
    assert len(torn) >= 3  # SIGKILL itself may tear a line, too


def test_written_is_written(tmp_path):
    """A record that a writer has flushed before it was killed is in the file."""
    path = tmp_path / "audit.jsonl"
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), "20000"], stdout=subprocess.PIPE
    )
    said = [int(writer.stdout.readline()) for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    said += [int(word) for word in writer.stdout.read().split(b"\n")[:-1]]
    writer.stdout.close()
    writer.wait()
    lines = [line for file in files_of([str(path)]) for line in lines_of(file)]
    numbers = [json.loads(line).get("number") for line in lines if line.endswith(b"}\n")]
    numbers = [number for number in numbers if number]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= len(said) >= 200


def test_a_killed_rotation(tmp_path, make_record):
    """Killed between two files, the next writer goes on from the older one."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(path) as sink:
        sink.add(make_record(tid=1))
        assert sink.rotate()
    path.unlink()
    with JsonLines.open(path) as sink:
        sink.add(make_record(tid=2))
    (first, second) = whole(path)
    assert calls([first, second]) == [1, 2]
    with open(first, "rb") as plain, gzip.open(f"{first}.gz", "wb") as packed:
        packed.write(plain.read())
    os.unlink(first)
    path.unlink()
    with JsonLines.open(path) as sink:
        sink.add(make_record(tid=3))
    assert calls(whole(path)) == [1, 3]


def test_rotation_under_load(tmp_path, make_record):
    """While one thread asks for new files, the other loses nothing."""
    path = tmp_path / "audit.jsonl"
    with JsonLines.open(
        path, print, LogSettings(RotationPolicy(max_size=50_000, compress=True))
    ) as sink:
        stop = threading.Event()
        readers = threading.Thread(target=lambda: _read_until(stop, path))
        readers.start()
        for tid in range(5000):
            sink.add(make_record(tid=tid))
        stop.set()
        readers.join()
    assert calls(whole(path)) == list(range(5000))


def _read_until(stop: threading.Event, path: Path) -> None:
    """Somebody looks at the log again and again."""
    while not stop.wait(0.01):
        try:
            verify(files_of([str(path)]))
        except UsageError:
            continue  # packed away while it was looked at


# -- a full disk


FILLED = """
    import os, sys
    from notifyd.events.jsonl import JsonLines, LogSettings
    from notifyd.events.signing import Signer
    from notifyd.events.verify import verify
    folder, patient = sys.argv[1], sys.argv[2] == "refuse"
    signer = Signer.open(folder + "/key")
    said, told = [], []
    sink = JsonLines.open(folder + "/a", told.append, LogSettings(signer=signer, patient=patient))
    sink.on_full = said.append
    filler = open(folder + "/filler", "wb", buffering=0)

    def fill():
        try:
            while True:
                filler.write(bytes(512))
        except OSError:
            pass

    number = 0
    for turn in range(3):
        fill()
        for _ in range(300):
            number += 1
            sink.event("odd", number=number, text="x" * 400)
            sink.flush()
        assert sink.full
        filler.truncate(0)
        filler.seek(0)
        sink.tick()
        assert not sink.full, turn
        number += 1
        sink.event("odd", number=number)
        sink.flush()
    sink.close()
    report = verify([folder + "/a"], key=signer.public)
    assert report.is_good, report.findings
    import json
    events = [json.loads(line) for line in open(folder + "/a")]
    there = [event["number"] for event in events if event["event"] == "odd"]
    marks = [event for event in events if event["event"] == "audit.full"]
    assert said == [True, False] * 3, said
    assert [mark["error"] for mark in marks] == ["ENOSPC"] * 3
    missing = sum(event.get("lines", 0) for event in events)
    assert missing == sink.lost == number - len(there)
    assert there == sorted(there)
    assert (sink.lost == 0) == patient, sink.lost
    print("\\n".join(told))
"""


@pytest.mark.root
@pytest.mark.parametrize("on_full", ["count", "refuse"])
def test_a_full_disk(tmp_path, on_full):
    """It is told at once, and in the file once there is room; what is lost is counted right."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FILLED))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = 'mount -t tmpfs -o size=2m none "$1" && "$2" "$3" "$1" "$4"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", disk, sys.executable, script, on_full],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert sum("No space left on device" in line for line in told) == 3
    assert sum("can be written again" in line for line in told) == 3
