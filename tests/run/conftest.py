"""Whole runs of notifyd: build a C program once, run it behind rules, read the events."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 60.0  # seconds; what a run may take before it counts as hung
PULSE = """
from notifyd import Return, SysInfo
@on(SysInfo)
def pulse(call):
    return Return(4711)
"""


@dataclass(frozen=True)
class Ran:
    """What a finished run left behind."""

    status: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The events of calls."""
        return [event for event in self.events if event["event"] == "call"]

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The calls of one operation."""
        return [event for event in self.calls if event["operation"] == operation]

    def the(self, name: str) -> dict[str, Any]:
        """The one event of that name."""
        (found,) = [event for event in self.events if event["event"] == name]
        return found

    @property
    def lines(self) -> list[str]:
        """What the command printed, by lines."""
        return self.out.splitlines()


def command_line(*words: str) -> list[str]:
    """`notifyd` and these words."""
    return [sys.executable, "-m", "notifyd", *words]


def environment() -> dict[str, str]:
    """Ours, with the checkout importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of an audit file; every line has to be whole."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def finish(
    process: "subprocess.Popen[str]",
    audit: Path,
    text: str | None = None,
    patience: float = PATIENCE,
) -> Ran:
    """Wait for a run to end; kill its whole session if it hangs."""
    try:
        out, err = process.communicate(text, timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"hung: {out[-1000:]!r} {err[-2000:]!r} {read_events(audit)[-3:]}")
    return Ran(process.returncode, out, err, read_events(audit))


def open_to_all(folder: Path) -> None:
    """Let other users into a folder that pytest made for root alone."""
    for one in (folder, folder.parent, folder.parent.parent):
        os.chmod(one, one.stat().st_mode | 0o055)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Build `programs/NAME.c` once a session; returns the program's path."""
    folder = tmp_path_factory.mktemp("programs")
    open_to_all(folder)
    built: dict[tuple[str, ...], str] = {}

    def builder(name: str, *flags: str) -> str:
        key = (name, *flags)
        if key not in built:
            target = str(folder / "".join(key).replace("/", "_"))
            source = str(HERE / "programs" / f"{name}.c")
            line = ["gcc", "-O1", "-Wall", "-Werror", "-pthread", *flags, "-o", target, source]
            subprocess.run(line, check=True)
            built[key] = target
        return built[key]

    return builder


@pytest.fixture
def rule(tmp_path: Path) -> Callable[..., str]:
    """Write a rule file; `rule(text)` returns its path. The names of notifyd are imported."""
    count = iter(range(100))

    def write(text: str, *, pulse: bool = True) -> str:
        path = tmp_path / f"rule{next(count)}.py"
        head = "import errno, os, signal\nfrom notifyd import *\n"
        path.write_text(head + (PULSE if pulse else "") + textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `notifyd run --audit ... WORDS` in a session of its own; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def starter(
        *words: str, quiet: bool = True, before: tuple[str, ...] = (), **more: Any
    ) -> "subprocess.Popen[str]":
        line = [*before, *command_line("run", "--audit", str(tmp_path / "events.jsonl"))]
        for name in ("stdin", "stdout", "stderr"):
            more.setdefault(name, subprocess.PIPE)
        more.setdefault("env", environment())
        process = subprocess.Popen(
            [*line, *(["-q"] if quiet else []), *words],
            text=True,
            start_new_session=True,
            **more,
        )
        started.append(process)
        return process

    yield starter
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run(start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> Callable[..., Ran]:
    """Run a command to its end: `run("--rules", file, "--", "ls")`.

    Fails on a traceback of notifyd's own, on a run that hangs, and on processes left behind.
    """

    def runner(
        *words: str,
        text: str | None = None,
        broken: bool = False,
        patience: float = PATIENCE,
        **more: Any,
    ) -> Ran:
        (tmp_path / "events.jsonl").unlink(missing_ok=True)
        process = start(*words, **more)
        ran = finish(process, tmp_path / "events.jsonl", text, patience)
        if not broken:
            assert "error in notifyd" not in ran.err, ran.err
            assert "Traceback" not in ran.err, ran.err
        assert left(process.pid) == []
        return ran

    return runner


def left(session: int) -> list[str]:
    """The processes of a session that are still there, as `pid (name) state`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        state, _, _, sid = tail.split()[:4]
        if int(sid) == session and state != "Z":
            found.append(f"{head}) {state}")
    return found


@pytest.fixture
def native() -> Callable[..., Ran]:
    """Run a command without notifyd."""

    def runner(*words: str, patience: float = PATIENCE, **more: Any) -> Ran:
        done = subprocess.run(words, capture_output=True, text=True, timeout=patience, **more)
        return Ran(done.returncode, done.stdout, done.stderr)

    return runner


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory where anybody may do anything, and which anybody can get to."""
    folder = tmp_path / "here"
    folder.mkdir()
    for one in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        one.chmod(one.stat().st_mode | 0o055)
    folder.chmod(0o777)
    return folder
