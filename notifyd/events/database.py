"""Events in SQLite, for queries: docs/reference/audit.md has the schema.

The audit file is the evidence; this is an index of it that anybody who may write it can change.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec

from notifyd.errors import UsageError
from notifyd.events.background import EventWriterError
from notifyd.events.select import PATHS

__all__ = ["COLUMNS", "Database", "read_events"]

EVENT_SCHEMA_VERSION = 1  # of the schema: PRAGMA user_version

COLUMNS: Mapping[str, str] = {
    "time": "TEXT NOT NULL",
    "event": "TEXT NOT NULL",
    "workload": "TEXT",
    "pid": "INTEGER",
    "exe": "TEXT",
    "uid": "INTEGER",
    "operation": "TEXT",
    "syscall": "TEXT",
    "path": "TEXT",
    "verdict": "TEXT",
    "how": "TEXT",
    "errno": "TEXT",
    "rule": "TEXT",
    "reason": "TEXT",
    "by": "TEXT",
    "line": "TEXT NOT NULL",
}
"""The columns of the table `events` after `id`: fields of the events, `path` from `args`, and the
whole event as it stands in the audit file, without `seq` and `chain`."""

_INDEXED = ("time", "workload", "operation", "path")


class Database:
    """Keeps events in a file, created with mode 0600 if it is missing.

    Raises:
        EventWriterError: it cannot be opened, or is of another version.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        marks = ", ".join("?" * len(COLUMNS))
        self._insert = f"INSERT INTO events ({names}) VALUES ({marks})"  # noqa: S608 (our names)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._connection = sqlite3.connect(path, timeout=5.0)
            self._make()
        except (OSError, sqlite3.Error) as error:
            raise EventWriterError(f"{path!r}: {error}") from error

    def keep(self, data: bytes) -> None:
        """Keep lines, in one transaction."""
        rows = [_row(line) for line in data.splitlines()]
        try:
            with self._connection:
                self._connection.executemany(self._insert, rows)
        except (sqlite3.Error, OverflowError) as error:
            raise EventWriterError(f"{self._path!r}: {error}") from error

    def close(self) -> None:
        """Close the file; its write-ahead log goes into it."""
        self._connection.close()

    def _make(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, EVENT_SCHEMA_VERSION):
            raise EventWriterError(f"{self._path!r} is of version {version}: name a new file")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        with self._connection:
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, {columns})"
            )
            for name in _INDEXED:
                self._connection.execute(
                    f"CREATE INDEX IF NOT EXISTS events_{name} ON events ({name})"
                )
            self._connection.execute(f"PRAGMA user_version = {EVENT_SCHEMA_VERSION}")


def read_events(path: str, since: str = "", until: str = "") -> Iterator[bytes]:
    """The events of a database as lines of JSON, in the order in which they came.

    Args:
        path: the file.
        since: a time as events have it: none before it; "" for any.
        until: the same: none after it.

    Raises:
        UsageError: it is not such a database.
    """
    query = "SELECT line FROM events WHERE time >= ? AND time <= ? ORDER BY id"
    if not os.path.isfile(path):
        raise UsageError(f"{path!r} is not there: name the database of [audit]")
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as connection:
            connection.execute("PRAGMA query_only = ON")
            for (line,) in connection.execute(query, (since, until or "~")):
                yield str(line).encode()
    except sqlite3.Error as error:
        raise UsageError(f"{path!r} is not a database of events: {error}") from error


def _row(line: bytes) -> Sequence[Any]:
    event = msgspec.json.decode(line, type=dict[str, Any])
    args = event.get("args")
    if isinstance(args, dict):
        found = [args[name] for name in PATHS if isinstance(args.get(name), str)]
        event.setdefault("path", found[0] if found else None)
    event["line"] = line.decode()
    return [_plain(event.get(name)) for name in COLUMNS]


def _plain(value: Any) -> Any:
    """A value as a column can have it."""
    if value is None or isinstance(value, (str, int, float)):
        return value if not isinstance(value, int) or abs(value) < 1 << 63 else str(value)
    return msgspec.json.encode(value).decode()
