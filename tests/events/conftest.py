"""Records to write, and what was written, read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notifyd.events.jsonl import JsonLines
from notifyd.events.record import CallRecord
from notifyd.target.identity import Identity

CURL = Identity(4711, 4712, 1, 123456, b"/usr/bin/curl", 1000, 1000)


@pytest.fixture
def make_record() -> Callable[..., CallRecord]:
    """A refused open of /etc/shadow by curl; keywords change it."""

    def make(**changes: Any) -> CallRecord:
        fields: dict[str, Any] = {
            "time_ns": 1_700_000_000_000_123_999,
            "workload": "w1",
            "identity": CURL,
            "tid": 4712,
            "operation": "Open",
            "syscall": "openat",
            "arch": "x86_64",
            "args": {"path": "/etc/shadow", "flags": "O_RDONLY|O_CLOEXEC"},
            "verdict": "deny",
            "how": "answered",
            "errno": 13,
            "value": None,
            "rule": "secrets.py:keep",
            "reason": None,
            "racy": False,
            "took_ns": 12_345,
        }
        return CallRecord(**{**fields, **changes})

    return make


@pytest.fixture
def parse() -> Callable[[bytes], list[dict[str, Any]]]:
    """The objects of JSON lines, after a look that they are lines: no more, no fewer.

    What the file has of its own, to hold its records together, is left out.
    """

    def read(data: bytes) -> list[dict[str, Any]]:
        assert data == b"" or data.endswith(b"\n")
        text = data.decode("utf-8")
        lines = text.split("\n")[:-1]
        assert text.splitlines() == lines
        events = [json.loads(line) for line in lines]
        for event in events:
            event.pop("seq", None)
            event.pop("chain", None)
        return [one for one in events if one["event"] not in ("audit.begun", "audit.checkpoint")]

    return read


@pytest.fixture
def complaints() -> list[str]:
    """What the sink complained of."""
    return []


@pytest.fixture
def sink(tmp_path: Path, complaints: list[str]) -> Iterator[JsonLines]:
    """An audit file that works: audit.jsonl in the test's folder."""
    with JsonLines.open(tmp_path / "audit.jsonl", complaints.append) as opened:
        yield opened
