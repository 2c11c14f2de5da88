"""A log that was tampered with: what was done is found, and where."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.events.chain import START, last_link, parse, seal
from notifyd.events.findings import Report
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.reading import files_of
from notifyd.events.signing import Signer
from notifyd.events.verify import Verifier, verify

SEED = 20_260_101
CORRUPTIONS = 1000


def check(lines: list[bytes], key: str = "") -> Report:
    """Verify lines as one file, a closed one."""
    verifier = Verifier(key)
    verifier.begin("log")
    for number, line in enumerate(lines, 1):
        verifier.take(number, line)
    return verifier.end(open_is_fine=False)


def kinds(report: Report) -> list[tuple[int, str]]:
    """Lines and kinds of what was found."""
    return [(one.line, one.kind) for one in report.findings]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """A key of the test's own."""
    return Signer.open(str(tmp_path / "key"))


@pytest.fixture
def log(tmp_path, make_record, signer) -> list[bytes]:
    """The lines of a signed log of two writers; 42 of them, the first and three more its own."""
    path = tmp_path / "audit.jsonl"
    for part in range(2):
        with JsonLines.open(path, print, LogSettings(signer=signer)) as sink:
            for tid in range(19):
                sink.add(make_record(tid=part * 19 + tid))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 42
    return lines


def test_what_is_untouched_is_good(log, signer):
    """Numbers without a gap over a restart, both ends signed."""
    report = check(log, signer.public)
    assert kinds(report) == []
    assert (report.records, report.first, report.last) == (42, 1, 42)
    assert (report.checkpoints, report.signed, report.keys) == (2, 2, [signer.public])


def test_another_key(log):
    """A log that somebody else signed is not ours."""
    assert kinds(check(log, "ab" * 32)) == [(21, "signature"), (42, "signature")]


def test_a_log_that_was_made_anew_is_not_signed(log):
    """Whoever chains a changed log again lacks the key."""
    records = [parse(line[:-1]).unsigned for line in log]
    records = [line[: line.rindex(b',"seq"')] + b"}" for line in records]
    again = seal(records[:5] + records[6:], START)[0].splitlines(keepends=True)
    assert kinds(check(again)) == [(20, "signature"), (41, "signature")]


AT = 10  # the index of a record in the midst


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x[:AT] + x[AT + 1 :], [(AT + 1, "removed")]),
        (lambda x: x[:AT] + x[AT + 3 :], [(AT + 1, "removed")]),
        (lambda x: [*x[:AT], x[AT], *x[AT:]], [(AT + 2, "duplicated")]),
        (lambda x: [*x[:AT], x[AT + 1], x[AT], *x[AT + 2 :]], [(AT + 1, "reordered")]),
        (lambda x: [*x[:AT], *x[AT + 1 : 20], x[AT], *x[20:]], [(20, "reordered")]),
        (lambda x: [*x[:AT], x[20], *x[AT:20], *x[21:]], [(AT + 1, "reordered")]),
        (lambda x: [*x[:AT], x[3], *x[AT:]], [(AT + 1, "duplicated")]),
        (lambda x: [*x[:AT], b"junk\n", *x[AT:]], [(AT + 1, "not a record")]),
        (lambda x: [*x[:AT], b"junk\n", *x[AT + 1 :]], [(AT + 1, "changed")]),
        (lambda x: [*x[:AT], x[AT].replace(b"deny", b"allo"), *x[AT + 1 :]], [(AT + 1, "changed")]),
        (lambda x: x[:-1], [(41, "cut")]),
        (lambda x: x[:AT], [(AT, "cut")]),
        (lambda x: [*x[:-1], x[-1][:-9]], [(42, "torn"), (42, "cut")]),
        (lambda x: [*x[:-1], x[-1][:-1]], [(42, "torn"), (42, "cut")]),
        (lambda x: x[3:], [(1, "removed")]),
        (lambda x: x[21:], [(1, "removed")]),
    ],
)
def test_placed(log, change, found):
    """Each kind of tampering, by itself, is told as what it is, where it is, and nothing else."""
    assert kinds(check(change(log))) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"seq":11,', b'"seq":14,'), (b'"seq":11,', b'"seq":3,'), (b'"seq":11,', b'"seq":9999,')],
)
def test_a_changed_number(log, old, new):
    """A number is covered by the digest, so that the record is told as changed and not as moved."""
    assert old in log[AT]
    changed = [*log[:AT], log[AT].replace(old, new), *log[AT + 1 :]]
    assert kinds(check(changed)) == [(AT + 1, "changed")]


def test_a_changed_digest(log):
    """It is the record's that was changed, not its successor's."""
    digit = log[AT][-4:-3]
    line = log[AT][:-4] + (b"1" if digit != b"1" else b"2") + log[AT][-3:]
    assert kinds(check([*log[:AT], line, *log[AT + 1 :]])) == [(AT + 1, "changed")]


def test_a_forged_record(log):
    """One that was put in with a number and a digest of its own."""
    before = last_link(log[AT - 1])
    forged, _ = seal([b'{"event":"call","time":"x"}'], before._replace(digest=bytes(32)))
    assert kinds(check([*log[:AT], forged, *log[AT:]])) == [(AT + 1, "inserted")]


def test_how_much_is_missing(log):
    """The text tells the numbers."""
    (finding,) = check(log[:AT] + log[AT + 3 :]).findings
    assert str(finding) == "log:11 (seq 14): removed: records 11 to 13 are missing"


def test_a_path_that_looks_like_an_end(tmp_path, make_record):
    """What a target has written cannot end a record."""
    forged = '","seq":2,"chain":"' + "ab" * 32 + '"}'
    with JsonLines.open(tmp_path / "a") as sink:
        for path in (forged, f"{forged}\n", f"\n{{{forged}"):
            sink.add(make_record(args={"path": path}, reason=forged, rule=forged))
    assert verify([str(tmp_path / "a")]).findings == []


# -- at random

Change = Callable[[random.Random, list[bytes]], tuple[list[bytes], int]]
"""Changes lines; returns them, and the number of the line where that shows first."""


def flip(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """One bit somewhere."""
    data = bytearray(b"".join(lines))
    at = dice.randrange(len(data))
    number = data.count(b"\n", 0, at) + 1
    data[at] ^= 1 << dice.randrange(8)
    return _lines(bytes(data)), number


def _lines(data: bytes) -> list[bytes]:
    pieces = data.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def delete(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """Some lines."""
    at, count = dice.randrange(len(lines)), dice.choice((1, 1, 2, 5))
    return lines[:at] + lines[at + count :], at + 1


def swap(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """Two lines."""
    one, other = sorted(dice.sample(range(len(lines)), 2))
    changed = list(lines)
    changed[one], changed[other] = changed[other], changed[one]
    return changed, one + 1


def truncate(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """After some byte."""
    data = b"".join(lines)
    data = data[: dice.randrange(1, len(data))]
    return _lines(data), data.count(b"\n") + 1


def duplicate(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """A line, somewhere after itself."""
    at = dice.randrange(len(lines))
    to = dice.randrange(at + 1, len(lines) + 1)
    return [*lines[:to], lines[at], *lines[to:]], to + 1


def insert(dice: random.Random, lines: list[bytes]) -> tuple[list[bytes], int]:
    """A line of somebody's own."""
    at = dice.randrange(len(lines) + 1)
    line = dice.choice(
        (
            b"\n",
            b"{}\n",
            dice.randbytes(40).replace(b"\n", b"") + b"\n",
            seal([b'{"event":"call"}'], last_link(lines[max(0, at - 1)])._replace(digest=b"x"))[0],
        )
    )
    return [*lines[:at], line, *lines[at:]], at + 1


CHANGES: tuple[Change, ...] = (flip, delete, swap, truncate, duplicate, insert)


def test_a_thousand_corruptions(log):
    """Every one is found; the first thing that is said is at the place, or the line after it."""
    dice = random.Random(SEED)
    for turn in range(CORRUPTIONS):
        change = CHANGES[turn % len(CHANGES)]
        lines, number = change(dice, log)
        if not lines:
            continue
        found = kinds(check(lines))
        assert found, (turn, change.__name__, number)
        first = min(line for line, _ in found)
        assert number - 1 <= first <= number + 1, (turn, change.__name__, number, found)
        assert len(found) <= 6, (turn, change.__name__, number, found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 41), st.integers(0, 3))
def test_anything_in_its_place(data, at, count):
    """Whatever stands there instead of some records, it is found and nothing is raised."""
    log = test_anything_in_its_place.log
    changed = _lines(b"".join(log[:at]) + data + b"".join(log[at + count :]))
    if changed != log and changed:
        assert kinds(check(changed))


records = [b'{"event":"call","tid":%d}' % number for number in range(40)]
whole, _ = seal([b'{"event":"audit.begun","why":"start"}', *records], START)
closing, _ = seal([b'{"event":"audit.checkpoint","ends":"stop"}'], last_link(whole))
test_anything_in_its_place.log = (whole + closing).splitlines(keepends=True)


# -- files


def test_over_rotated_files(tmp_path, make_record, signer):
    """Older files are read before the one that is written, packed or not."""
    path = tmp_path / "a"
    with JsonLines.open(path, print, LogSettings(signer=signer)) as sink:
        for tid in range(40):
            sink.add(make_record(tid=tid))
            if tid % 10 == 9:
                assert sink.rotate()
    files = files_of([str(path)])
    assert len(files) == 5
    numbers = [last_link(Path(file).read_bytes()).seq for file in files]
    assert all(one < other for one, other in pairwise(numbers))
    assert kinds(verify(files, key=signer.public)) == []
    (finding,) = verify([files[0], *files[2:]]).findings
    assert (finding.file, finding.line, finding.kind) == (files[2], 1, "removed")
    assert kinds(verify(files[1:])) == []
    assert verify(files[1:]).notes == ["records 1 to 12 are not in these files"]
    (note,) = verify(files[:-1]).notes
    assert note == "it continues in another file, which is not among these"


def test_a_file_of_nothing_but_findings(tmp_path, monkeypatch):
    """Verifying ends where too much is wrong, and says so: a small file can have many lines."""
    monkeypatch.setattr("notifyd.events.verify.MAX_FINDINGS", 100)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\n" * 1_000_000))
    report = verify([str(path)])
    assert len(report.findings) == 101
    assert (report.findings[-1].line, report.findings[-1].kind) == (100, "given up")


def test_what_no_signature_covers(log, signer):
    """Whoever chains a log anew leaves the checkpoints out: that none is there is told."""
    forged, _ = seal([b'{"event":"audit.begun","why":"start"}', b'{"event":"call"}'], START)
    notes = {}
    for name, lines in {"cut": log[:-3], "forged": forged.splitlines(keepends=True)}.items():
        verifier = Verifier(signer.public)
        verifier.begin("log")
        for number, line in enumerate(lines, 1):
            verifier.take(number, line)
        report = verifier.end(open_is_fine=True)
        assert report.is_good
        notes[name] = report.notes
    assert notes == {
        "cut": ["no signature covers records 22 to 39"],
        "forged": ["no signature covers records 1 to 2"],
    }
    assert check(log, signer.public).notes == []
