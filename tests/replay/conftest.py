"""Records for replaying: of calls that were made up, and of programs that really ran."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from notifyd.policy.load import load
from notifyd.replay.again import replay

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))  # for `recording`, which the tests here share

PATIENCE = 60.0  # seconds; what a run may take before it counts as hung


@dataclass(frozen=True)
class Ran:
    """What a finished command left behind."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def notifyd(*words: str | Path, cwd: Path, status: int | None = None) -> Ran:
    """Run notifyd to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "notifyd", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert status in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
    return Ran(done.returncode, done.stdout, done.stderr)


class Bench:
    """A folder with rules and records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rules(self, text: str, name: str = "new.py") -> Path:
        """Write a rule file."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def record(self, *lines: bytes, name: str = "calls.jsonl") -> Path:
        """Write a record."""
        path = self.folder / name
        path.write_bytes(b"".join(lines))
        return path

    def run(self, rules: Sequence[str], *words: str, name: str = "calls.jsonl") -> Path:
        """Run a program under rules, and record it."""
        path = self.folder / name
        options = [one for rule in rules for one in rule.split()]
        notifyd("run", "-q", "--audit", path, *options, "--", *words, cwd=self.folder)
        assert path.stat().st_size
        return path

    def replay(self, *words: str | Path, status: int | None = None) -> Ran:
        """Replay, as a person would."""
        return notifyd("replay", *words, cwd=self.folder, status=status)

    def data(self, *words: str | Path, status: int | None = None) -> Any:
        """Replay, and what it came to."""
        return self.replay("--json", *words, status=status).data


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A folder with rules and records."""
    return Bench(tmp_path)


@pytest.fixture
def found(bench):
    """Replay lines under a rule text: the findings."""

    def decide(rules, *lines, **settings):
        text = "import os, errno, trio\nimport notifyd as n\nfrom notifyd import *\n"
        path = bench.rules(text + textwrap.dedent(rules))
        findings = []
        replay(
            load([str(path)], **settings),
            [str(bench.record(*lines))],
            heard=lambda event, finding: findings.append(finding),
            tick=lambda *_: None,
        )
        return findings

    return decide


@pytest.fixture
def one(found):
    """Replay one line: kind, before, after."""

    def decide(rules, recorded, **settings):
        (finding,) = found(rules, recorded, **settings)
        return finding.kind.name.lower(), finding.before, finding.after

    return decide
