"""`notifyd audit`: reading a log back, and seeing whether it is what was written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from notifyd.events.background import BackgroundSink
from notifyd.events.database import Database
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.rotation import RotationPolicy
from notifyd.events.signing import Signer

HOSTILE = "/tmp/\x1b[2J\u202eevil\n2026"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three files, the older ones packed, with 30 calls; signed."""
    path = tmp_path / "events.jsonl"
    manner = LogSettings(RotationPolicy(compress=True), Signer.open(f"{path}.key"))
    with JsonLines.open(path, print, manner) as sink:
        sink.send_to(BackgroundSink(partial(Database, f"{path}.db"), "database", print))
        for number in range(30):
            verdict, by = ("deny", None) if number % 3 else ("allow", "alice")
            args = {"path": HOSTILE if number == 7 else f"/etc/{number}"}
            sink.event("call", workload=f"web-{number % 2}", operation="Open", syscall="openat",
                       args=args, verdict=verdict, rule="a.py:f", by=by, tid=number)  # fmt: skip
            if number in (9, 19):
                assert sink.rotate()
    return path


def tids(said) -> list[int]:
    """The calls that were printed as JSON."""
    events = [json.loads(line) for line in said.out.splitlines()]
    return [event["tid"] for event in events if "tid" in event]


def test_a_good_log(notifyd, log):
    """One line for people; status 0."""
    public = notifyd("audit", "key", f"{log}.key").out.strip()
    said = notifyd("audit", "verify", str(log), "--key", public)
    good = f"{log}: good: 36 records, 1 to 36; 3 of 3 checkpoints signed\n"
    assert (said.out, said.err, said.status) == (good, "", 0)
    assert notifyd("audit", "verify", str(log)).out == good


def test_a_log_without_its_key(notifyd, log):
    """A signature by anybody's key is told as such."""
    Path(f"{log}.key").unlink()
    said = notifyd("audit", "verify", str(log))
    assert "as it says itself: see --key" in said.out
    assert said.status == 0
    said = notifyd("audit", "verify", str(log), "--key", "ab" * 32)
    assert said.out.count("signature: the checkpoint is signed by") == 3
    assert said.status == 1


def test_a_wrong_log(notifyd, log):
    """What, where and which number; status 1; and the same as JSON."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:4] + lines[5:]))
    said = notifyd("audit", "verify", str(log))
    assert said.out.splitlines() == [
        f"{log}:5 (seq 30): removed: record 29 is missing",
        f"{log}: 1 finding: 35 records, 1 to 36; 3 of 3 checkpoints signed",
    ]
    assert said.status == 1
    said = notifyd("audit", "verify", str(log), "--json")
    found = json.loads(said.out)
    (finding,) = found["logs"][0]["findings"]
    assert (found["good"], finding["kind"], finding["line"], finding["seq"]) == (
        False, "removed", 5, 30,
    )  # fmt: skip
    assert said.status == 1


def test_a_missing_file(notifyd, log):
    """One of the older files is gone."""
    next(iter(log.parent.glob("events.jsonl.*13.gz"))).unlink()
    said = notifyd("audit", "verify", str(log))
    assert "records 13 to 24 are missing" in said.out
    assert said.status == 1


def test_a_packed_file_that_was_cut(notifyd, log):
    """It is placed, and the rest is looked at all the same."""
    packed = next(iter(log.parent.glob("events.jsonl.*13.gz")))
    packed.write_bytes(packed.read_bytes()[:-20])
    said = notifyd("audit", "verify", str(log))
    assert f"{packed}:" in said.out
    assert "unreadable" in said.out
    assert said.status == 1


def test_a_copy(notifyd, log, tmp_path):
    """Of a log that is being written: its end may be missing, if one says so."""
    copy = tmp_path / "copy"
    copy.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))
    assert "cut" in notifyd("audit", "verify", str(copy)).out
    assert notifyd("audit", "verify", "--open", str(copy)).status == 0


def test_logrotate(notifyd, tmp_path):
    """Files that somebody else has moved are one log with the file that they were."""
    path = tmp_path / "a.jsonl"
    with JsonLines.open(path) as sink:
        for name in ("a.jsonl.1", "a.jsonl-20261005"):
            sink.event("odd")
            sink.flush()
            path.rename(tmp_path / name)
            assert sink.rotate()
    files = [f"{path}.1", f"{path}-20261005", str(path)]
    said = notifyd("audit", "verify", *files)
    assert said.out == f"{path}: good: 8 records, 1 to 8; 0 of 3 checkpoints signed\n"
    assert notifyd("audit", "verify", files[0], files[2]).status == 1


def test_the_check_of_the_reference(log, tmp_path):
    """The few lines that check a chain without notifyd do so."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "audit.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with JsonLines.open(
        tmp_path / "one", print, LogSettings(signer=Signer.open(f"{log}.key"))
    ) as sink:
        for number in range(50):
            sink.event("odd", number=number)
    data = (tmp_path / "one").read_bytes()
    for given, status in ((data, 0), (data.replace(b'"number":7', b'"number":8'), 1)):
        done = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True)
        assert done.returncode == status, done.stderr


def test_usage(notifyd, tmp_path):
    """One line, status 2."""
    for words in (
        ("verify", str(tmp_path / "none")),
        ("verify", "--config", str(tmp_path / "none")),
        ("verify", "--key", "nonsense", __file__),
        ("show", "--since", "yesterday", __file__),
        ("show", "--database", str(tmp_path / "none")),
        ("show", "--database", "a", "b"),
        ("show", "--config", str(tmp_path / "none")),
        ("show", __file__),
        ("show", "--json", __file__),
        ("show", str(tmp_path)),
    ):
        said = notifyd("audit", *words)
        assert (said.status, said.out, said.err.count("\n")) == (2, "", 1), (words, said)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), range(30)),
        (("--verdict", "allow"), range(0, 30, 3)),
        (("--workload", "web-1", "--verdict", "al*"), range(3, 30, 6)),
        (("--path", "/etc/1?"), range(10, 20)),
        (("--by", "alice"), range(0, 30, 3)),
        (("--rule", "b.py:*"), ()),
        (("--since", "1h"), range(30)),
        (("--until", "1h"), ()),
        (("--operation", "Open", "--event", "call"), range(30)),
    ],
)
def test_filters(notifyd, log, filters, found):
    """From all files, and the same from the database."""
    assert tids(notifyd("audit", "show", str(log), "--json", *filters)) == list(found)
    from_database = notifyd("audit", "show", "--database", f"{log}.db", "--json", *filters)
    assert tids(from_database) == list(found)


def test_a_table(notifyd, log):
    """A row each, harmless."""
    said = notifyd("audit", "show", str(log), "--event", "call")
    head, *rows = said.out.splitlines()
    assert head.split()[:5] == ["time", "workload", "operation", "verdict", "result"]
    assert len(rows) == 30
    assert said.out.isascii() or "…" in said.out
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert "/tmp/\\x1b[2J\\u202eevil\\x0a2026" in rows[7]
    assert rows[3].endswith("/etc/3, thread 3, by a.py:f, by alice")
    everything = notifyd("audit", "show", str(log)).out
    assert "the audit file begins: start" in everything


def test_what_was_tampered_with_is_shown(notifyd, log):
    """Whatever stands in a log, showing it does not fail."""
    log.write_bytes(b'[1]\n\xff\n{"event":[1],"time":{},"args":3,"workload":["\\u001b"]}\n{"a":1}')
    said = notifyd("audit", "show", str(log))
    assert said.status == 0
    assert "\x1b" not in said.out


def test_the_daemon_s_log(notifyd, log, tmp_path):
    """Without a file, the configuration says which."""
    config = tmp_path / "notifyd.toml"
    config.write_text(
        f'[audit]\npath = "{log}"\n[sockets.oci]\npath = "/x"\n'
        '[[workload]]\nname = "all"\nrules = ["no-network"]\n'
    )
    assert tids(notifyd("audit", "show", "--json", "-c", str(config))) == list(range(30))
    assert notifyd("audit", "verify", "-c", str(config)).status == 0
    said = notifyd("audit", "key", "-c", str(config))
    assert said.out == notifyd("audit", "key", f"{log}.key").out
    config.write_text(config.read_text().replace("[audit]\npath", "#"))
    assert "names no audit file" in notifyd("audit", "show", "-c", str(config)).err
