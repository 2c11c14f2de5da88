"""The audit file of a real daemon: rotated, full, shared with nobody, and whole at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.events.reading import files_of, lines_of
from notifyd.events.signing import Signer
from notifyd.events.verify import verify

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE = 20.0
CONFIGURATION = """
[sockets.native]
path = "{here}/native.sock"
[sockets.control]
path = "{here}/control.sock"
[[workload]]
name = "all"
rules = ["./rule.py"]
[audit]
path = "{here}/log/events.jsonl"
"""
RULE = """
import errno
from notifyd import *

@on(Raw("getppid"))
def parent(call):
    return Allow()

@on(Raw("getsid"))
def session(call):
    return Deny(errno.EACCES)
"""
CALLS = """
import os, sys
for line in sys.stdin:
    for _ in range(int(line)):
        try:
            os.getppid() and sys.stdout.write("")
            said = "allowed"
        except PermissionError:
            said = "refused"
    said = "refused" if os.getppid() == -1 else "allowed"
    print(said, flush=True)
"""


class Place:
    """A daemon in a folder, with a mount namespace and a small disk of its own if need be."""

    def __init__(self, folder: Path, more: str, disk: str) -> None:
        self.folder = folder
        (folder / "log").mkdir()
        (folder / "rule.py").write_text(RULE)
        (folder / "notifyd.toml").write_text((CONFIGURATION + more).replace("{here}", str(folder)))
        serve = [sys.executable, "-m", "notifyd", "serve", "-c", str(folder / "notifyd.toml")]
        mount = f'mount -t tmpfs -o size={disk} none "$0" && exec "$@"'
        inside = ["unshare", "--mount", "sh", "-c", mount, str(folder / "log")] if disk else []
        self.command = [*inside, *serve]
        self.errors = (folder / "stderr").open("wb")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.errors.truncate(0)
        self.process = subprocess.Popen(self.command, stderr=self.errors, env=ENVIRONMENT)
        self.root = Path(f"/proc/{self.process.pid}/root{self.folder}")
        self.path = self.root / "log" / "events.jsonl"
        self.until(lambda: "ready: " in self.told())

    def told(self) -> str:
        """What it said on standard error."""
        return (self.folder / "stderr").read_text()

    def until(self, holds) -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.told()
            assert self.process.poll() is None, self.told()
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; nothing is wrong."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.told()

    def events(self) -> list[dict]:
        """All events, from all files."""
        lines = [line for file in files_of([str(self.path)]) for line in lines_of(file)]
        return [json.loads(line) for line in lines]

    @contextlib.contextmanager
    def workload(self) -> Iterator[subprocess.Popen]:
        """A command under it that makes as many calls as it is told."""
        command = ["-m", "notifyd", "run", f"--service={self.folder}/native.sock", "--"]
        with subprocess.Popen(
            [sys.executable, *command, sys.executable, "-c", CALLS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=ENVIRONMENT,
        ) as process:
            yield process
            process.stdin.close()
            assert process.wait(PATIENCE) == 0


@pytest.fixture
def daemon() -> Iterator:
    """Start a daemon: `daemon(more, disk="1m")`."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder, contextlib.ExitStack() as stack:

        def start(more: str = "", disk: str = "") -> Place:
            place = Place(Path(folder), more, disk)
            stack.callback(place.errors.close)
            stack.callback(lambda: (place.process.kill(), place.process.wait()))
            return place

        yield start


def ask(process: subprocess.Popen, calls: int) -> str:
    """Have calls made; whether the last one was allowed."""
    process.stdin.write(f"{calls}\n")
    return process.stdout.readline().strip()


@pytest.mark.root
def test_rotated_while_it_works(daemon):
    """By size, by a signal and by `ctl`: no call is lost, and all of it is signed."""
    place = daemon('max-size = "64K"\ncompress = true\n')
    with place.workload() as process:
        for turn in range(6):
            assert ask(process, 200) == "allowed"
            if turn == 2:
                place.process.send_signal(signal.SIGUSR1)
            if turn == 4:
                words = ["ctl", "rotate", f"--socket={place.folder}/control.sock"]
                done = subprocess.run(
                    [sys.executable, "-m", "notifyd", *words], capture_output=True, text=True
                )
                assert done.stdout == f"a new file is {place.folder}/log/events.jsonl\n"
    place.stop()
    path = place.folder / "log" / "events.jsonl"
    key = Signer.open(f"{path}.key").public
    report = verify(files_of([str(path)]), key=key)
    assert report.findings == []
    assert len(report.files) > 4
    lines = [line for file in report.files for line in lines_of(file)]
    assert sum(b'"syscall":"getppid"' in line for line in lines) == 6 * 201
    assert json.loads(lines[-2])["event"] in ("workload.ended", "service.stopping")


@pytest.mark.root
@pytest.mark.parametrize("choice", ["refuse", "count"])
def test_a_full_disk(daemon, choice):
    """What would be allowed is refused, or goes on and is counted, until there is room again."""
    place = daemon(f'on-full = "{choice}"\n', disk="1m")
    with place.workload() as process:
        assert ask(process, 10) == "allowed"
        filler = (place.root / "log" / "filler").open("wb", buffering=0)
        with contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        ask(process, 150)  # with those below, less than what is kept in memory meanwhile
        place.until(lambda: "No space left on device" in place.told())
        answers = ask(process, 100 if choice == "refuse" else 2000)
        time.sleep(0.5)  # their events come after the answers
        filler.truncate(0)
        place.until(lambda: "can be written again" in place.told())
        assert ask(process, 10) == "allowed"
        filler.close()
    place.until(lambda: b'"workload.ended"' in place.path.read_bytes())
    events = place.events()
    (full,) = [event for event in events if event["event"] == "audit.full"]
    assert full["error"] == "ENOSPC"
    reasons = {event.get("reason") for event in events if event["event"] == "call"}
    if choice == "refuse":
        assert answers == "refused"
        assert full["lines"] == 0
        assert "the audit file is full" in reasons
        assert len([one for one in events if one.get("syscall") == "getppid"]) == 10 + 250 + 10 + 4
    else:
        assert answers == "allowed"
        assert full["lines"] > 0
        assert reasons == {None}
    assert verify([str(place.path)], open_is_fine=True).findings == []
    place.stop()


def test_two_daemons(daemon):
    """The second one is refused with one line."""
    place = daemon()
    text = (place.folder / "notifyd.toml").read_text()
    other = place.folder / "other.toml"
    other.write_text(text.replace(".sock", "2.sock"))
    done = subprocess.run(
        [sys.executable, "-m", "notifyd", "serve", "-c", str(other)],
        capture_output=True,
        text=True,
        timeout=30,
        env=ENVIRONMENT,
    )
    assert done.returncode == 2
    assert "is being written by another notifyd" in done.stderr
    assert done.stderr.count("\n") == 1
    place.stop()


@pytest.mark.root
def test_killed_and_started_again(daemon):
    """Nobody else holds the file then, and the chain goes on over both lives."""
    place = daemon()
    with place.workload() as process:
        assert ask(process, 50) == "allowed"
        place.until(lambda: place.path.read_bytes().count(b'"getppid"') == 51)
        place.process.kill()
        place.process.wait()
        place.start()
    place.stop()
    path = place.folder / "log" / "events.jsonl"
    assert verify([str(path)]).findings == []
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [one["why"] for one in events if one["event"] == "audit.begun"] == ["start", "restart"]
    assert sum(one.get("syscall") == "getppid" for one in events) == 51


@pytest.mark.root
def test_told_to_stop_many_times(daemon):
    """The log has its end, as after once; what comes late does not cut it off."""
    place = daemon()
    with place.workload() as process:
        assert ask(process, 50) == "allowed"
    while place.process.poll() is None:
        place.process.send_signal(signal.SIGTERM)
        place.process.send_signal(signal.SIGUSR1)
        time.sleep(0.001)
    path = place.folder / "log" / "events.jsonl"
    files = files_of([str(path)])
    assert verify(files).findings == []
    assert b'"ends":"stop"' in path.read_bytes().splitlines()[-1]


def test_a_run_told_to_stop_many_times(tmp_path):
    """Likewise."""
    path = tmp_path / "a"
    words = ["run", "--quiet", "--rules", "audit-exec", f"--audit={path}", "--", "sleep", "600"]
    command = [sys.executable, "-m", "notifyd", *words]
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        end = time.monotonic() + PATIENCE
        while not (path.exists() and b"workload.started" in path.read_bytes()):
            assert time.monotonic() < end
            time.sleep(0.02)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.001)
    assert verify([str(path)]).findings == []


@pytest.mark.root
def test_hidden_everywhere(daemon):
    """In the file, in the database and on standard error."""
    place = daemon(
        'redact = ["exe", "peer", "reason"]\ndatabase = "{here}/log/events.db"\n',
    )
    with place.workload() as process:
        ask(process, 1)
    place.until(lambda: b'"workload.ended"' in place.path.read_bytes())
    place.stop()
    log = place.folder / "log"
    path = log / "events.jsonl"
    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "notifyd",
            "audit",
            "show",
            "--json",
            "--database",
            log / "events.db",
        ],
        capture_output=True,
        text=True,
    ).stdout
    started = [line for line in shown.splitlines() if "workload.started" in line]
    assert [json.loads(line)["peer"] for line in started] == ["[redacted]"]
    assert path.read_text().count('"peer":"[redacted]"') == 1
    calls = [json.loads(line) for line in path.read_text().splitlines() if '"call"' in line]
    assert {call["exe"] for call in calls} == {"[redacted]"}
    assert verify([str(path)]).is_good
