"""What an audit log costs beyond the calls: writing it, verifying it, reading it back.

    python tests/bench/audit_log.py [--records N]

A log of calls is written as the daemon writes it, rotated and signed, and then gone through as
`notifyd audit` does. Figures are printed and never asserted: microseconds a record, and seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from notifyd.events.background import BackgroundSink
from notifyd.events.database import Database, read_events
from notifyd.events.jsonl import JsonLines, LogSettings
from notifyd.events.reading import files_of, lines_of
from notifyd.events.record import CallRecord
from notifyd.events.rotation import RotationPolicy
from notifyd.events.select import Selection
from notifyd.events.signing import Signer
from notifyd.events.verify import verify
from notifyd.target.identity import Identity

WHO = Identity(4711, 4712, 1, 123456, b"/usr/bin/curl", 1000, 1000)


def record(number: int) -> CallRecord:
    """A refused open."""
    args = {"path": f"/etc/{number % 1000}", "flags": "O_RDONLY|O_CLOEXEC", "mode": None}
    # fmt: off
    return CallRecord(
        1_700_000_000_000_000_000 + number * 20_000, f"web-{number % 7}", WHO, 4712, "Open",
        "openat", "x86_64", args, "deny", "answered", 13, None, "secrets.py:keep", None, False,
        12_345,
    )
    # fmt: on


def write(path: Path, records: list[CallRecord], manner: LogSettings, database: str = "") -> None:
    """Write them."""
    with JsonLines.open(path, print, manner) as sink:
        if database:
            sink.send_to(BackgroundSink(lambda: Database(database), "database", print))
        for one in records:
            sink.add(one)


def show(path: Path) -> int:
    """Choose some of them."""
    selection = Selection(since="2023", path="/etc/7*", verdict="deny")
    lines = (line for file in files_of([str(path)]) for line in lines_of(file))
    return sum(selection.fits(msgspec.json.decode(line, type=dict)) for line in lines)


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="(100000)")
    count = parser.parse_args().records
    records = [record(number) for number in range(count)]

    def timed(name: str, work: Callable[[], object]) -> None:
        begun = time.perf_counter()
        work()
        took = time.perf_counter() - begun
        print(f"{name:28} {took / count * 1e6:8.2f} µs a record  {took:7.2f} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="nd-bench-") as folder:
        path, packed, both = (Path(folder) / name for name in ("a", "b", "c"))
        signer = Signer.open(f"{folder}/key")
        database = f"{folder}/events.db"
        timed("written, chained, signed", lambda: write(path, records, LogSettings(signer=signer)))
        small = LogSettings(RotationPolicy(max_size=8 << 20, compress=True), signer)
        timed("rotated and packed, too", lambda: write(packed, records, small))
        timed(
            "into a database, too",
            lambda: write(both, records, LogSettings(signer=signer), database),
        )
        timed("audit verify", lambda: verify([str(path)], key=signer.public))
        timed("audit verify of packed ones", lambda: verify(files_of([str(packed)])))
        timed("audit show with filters", lambda: show(path))
        timed("read from the database", lambda: sum(1 for _ in read_events(database)))


if __name__ == "__main__":
    main()
