"""A file that takes what it likes: the chain has no holes, and every record is accounted for."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.events import chain_writer
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.signing import Signer
from notifyd.events.verify import verify

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EAGAIN, errno.EINTR)

moods = st.lists(
    st.one_of(st.none(), st.tuples(st.integers(0, 1500), st.sampled_from(ERRORS))), max_size=30
)
"""What becomes of each write: all of it goes, or so many bytes, and then an error."""


@contextmanager
def moody(plan: list[tuple[int, int] | None]) -> Iterator[None]:
    """Writes go as planned; when the plan is at its end, all goes well."""
    left = list(plan)

    def write(descriptor: int, data: memoryview) -> tuple[int, int]:
        mood = left.pop(0) if left else None
        if mood is None or mood[0] >= len(data):
            return os.write(descriptor, data), 0
        return os.write(descriptor, data[: mood[0]]), mood[1]

    kept, chain_writer.write_all = chain_writer.write_all, write
    try:
        yield
    finally:
        chain_writer.write_all = kept


@settings(max_examples=300, deadline=None)
@given(moods, st.lists(st.integers(0, 6), min_size=1, max_size=25), st.booleans(), st.booleans())
def test_every_record_is_accounted_for(plan, batches, patient, signed):
    """Written, or counted by a mark that stands where they are missing; in order, and verified."""
    complaints: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        signer = Signer.open(f"{folder}/key") if signed else None
        sink = JsonLines.open(path, complaints.append, LogSettings(signer=signer, patient=patient))
        number = 0
        with moody(plan):
            for size in batches:
                for _ in range(size):
                    number += 1
                    sink.event("odd", number=number, text="x" * (number * 37 % 400))
                sink.flush()
                if size == 3:
                    sink.tick()
                if size == 4:
                    sink.rotate()
        sink.tick()
        sink.tick()
        sink.close()
        files = [*sorted(str(one) for one in Path(folder).glob("a.*")), str(path)]
        report = verify(files, key=signer.public if signer else "")
        assert [str(one) for one in report.findings if number] == []
        lines = [line for file in files for line in Path(file).read_bytes().splitlines()]
        events = [json.loads(line) for line in lines]
        expected = 1
        for event in events:
            if event["event"] == "odd":
                assert event["number"] == expected
                expected += 1
            expected += event.get("lines", 0)
        assert expected == number + 1
        assert sum(event.get("lines", 0) for event in events) == sink.lost
        assert bool(sink.lost) <= bool(complaints)
        assert not sink.full


def test_a_mark_stands_before_what_comes_after_it():
    """A torn line that has to wait, a lost one, and then room: found by the test above."""
    test_every_record_is_accounted_for.hypothesis.inner_test(
        [(1, errno.ENOSPC), (0, errno.ENOSPC)], [1, 1], patient=False, signed=False
    )


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 5))
def test_whatever_was_left_behind(rest, lives):
    """A file is gone on with however it ends; what a crash has torn is covered by the chain."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        for _ in range(lives):
            with JsonLines.open(path) as sink:
                sink.event("odd")
            with path.open("ab") as file:
                file.write(rest.replace(b"\n", b""))
        with JsonLines.open(path) as sink:
            sink.event("last")
        assert [str(one) for one in verify([str(path)]).findings] == []
        data = path.read_bytes()
        torn = rest.replace(b"\n", b"")
        if torn:
            at = data.index(b"\n" + torn + b"\n") + 1
            changed = bytes([data[at] ^ 1 or 2]) + data[at + 1 :]
            if b"\n" not in changed[: len(torn)]:
                path.write_bytes(data[:at] + changed)
                assert verify([str(path)]).findings != []
