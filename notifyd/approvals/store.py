"""What survives a restart: questions, answers and lasting grants, in SQLite.

Owns the file and its schema. Called from one thread at a time, which may be another each time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from notifyd.approvals.answer_cache import StoredAnswer
from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.place import claim
from notifyd.approvals.question import (
    Answer,
    Person,
    Question,
    QuestionState,
    Resolution,
    Scope,
    Subject,
)
from notifyd.errors import UsageError

__all__ = ["DEFAULT_STORE_PATH", "Store", "user_path"]

DEFAULT_STORE_PATH = "/var/lib/notifyd/notifyd.db"
STORE_SCHEMA_VERSION = 2
BUSY_TIMEOUT_S = 10.0  # seconds that a write waits for another process

_SCHEMA = """
CREATE TABLE question (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text TEXT NOT NULL,
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    uid INTEGER NOT NULL,
    exe TEXT NOT NULL,
    digest TEXT NOT NULL,
    program TEXT NOT NULL,
    workload TEXT NOT NULL,
    section TEXT NOT NULL,
    origin TEXT NOT NULL DEFAULT '',
    bound TEXT NOT NULL DEFAULT '',
    world TEXT NOT NULL DEFAULT '',
    process TEXT NOT NULL,
    pid INTEGER NOT NULL,
    operation TEXT NOT NULL,
    syscall TEXT NOT NULL,
    args TEXT NOT NULL,
    asked REAL NOT NULL,
    within REAL,
    state TEXT NOT NULL DEFAULT 'asked',
    ended REAL,
    waited REAL,
    granted INTEGER,
    scope TEXT,
    minutes REAL,
    person TEXT,
    person_uid INTEGER,
    face TEXT,
    place TEXT,
    reason TEXT
) STRICT;
CREATE INDEX question_subject ON question (rule, key);
CREATE TABLE granted (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    uid INTEGER NOT NULL,
    exe TEXT NOT NULL,
    digest TEXT NOT NULL,
    program TEXT NOT NULL,
    origin TEXT NOT NULL DEFAULT '',
    section TEXT NOT NULL DEFAULT '',
    bound TEXT NOT NULL DEFAULT '',
    world TEXT NOT NULL DEFAULT '',
    granted INTEGER NOT NULL,
    person TEXT NOT NULL,
    person_uid INTEGER,
    face TEXT NOT NULL,
    place TEXT NOT NULL,
    reason TEXT NOT NULL,
    question INTEGER NOT NULL,
    made REAL NOT NULL,
    until REAL,
    revoked REAL,
    revoked_by TEXT
) STRICT;
"""
_SUBJECT = (
    "rule", "key", "uid", "exe", "digest", "program", "origin", "section", "bound", "world",
)  # fmt: skip
_MORE = ("question", ("origin", "bound", "world")), ("granted", _SUBJECT[6:])  # since version 2


class Store:
    """An open database. A context manager that closes it.

    Args:
        path: the file; made, 0600, if it is not there, as are its folders, 0700.

    Attributes:
        dropped: how many lasting answers of an older notifyd hold no more, since they do not say
            all that they are about.

    Raises:
        UsageError: it cannot be opened, was made by a newer notifyd, or others can write it.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path).absolute()
        self.dropped = 0
        with self._usable():
            # Invariant: nothing is obeyed that others could have written.
            self._file = claim(self._path)
            self._db = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA trusted_schema = OFF")
            self._prepare()
            self.grants()  # a broken database is found now, while a person can act

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # an answer that was promised is kept
        with self._writing():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > STORE_SCHEMA_VERSION:
                raise UsageError(
                    f"{self._path}: made by a newer notifyd (version {version}): use that one"
                )
            if not version:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
            elif version == 1:
                self._bind_more()
            if version < STORE_SCHEMA_VERSION:
                self._db.execute(f"PRAGMA user_version = {STORE_SCHEMA_VERSION}")

    def _bind_more(self) -> None:
        """From version 1: answers that do not say which file, section and call they are about."""
        for table, names in _MORE:
            for name in names:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
        with closing(
            self._db.execute(
                "UPDATE granted SET revoked = ?, revoked_by = 'a newer notifyd: it is asked again' "
                "WHERE revoked IS NULL AND (until IS NULL OR until > ?)",
                (time.time(), time.time()),
            )
        ) as cursor:
            self.dropped = cursor.rowcount

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{self._path}: cannot be used for approvals ({why}): {_remedy(error)}"
            ) from error

    def end_all(self, when: float) -> None:
        """Withdraw a predecessor's questions: calls that still wait ask again.

        Raises:
            UsageError: it cannot be written.
        """
        with self._usable(), self._writing():
            self._db.execute(
                "UPDATE question SET state = ?, ended = ?, reason = ? WHERE state = ?",
                (
                    QuestionState.WITHDRAWN.value,
                    when,
                    "notifyd was restarted",
                    QuestionState.ASKED.value,
                ),
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # SQLite would keep using a file that has no name any more, and answers would be lost.
        if not self._is_there():
            raise sqlite3.OperationalError("the file was removed: restart notifyd")
        self._begin()
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except OSError:
            return False

    def _begin(self) -> None:
        """Begin to write. Who has waited in vain is enough: others wait behind them."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self._db.execute("PRAGMA busy_timeout = 0")
            raise
        self._db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

    # -- questions

    def ask(self, question: Question) -> int:
        """Keep a question.

        Returns:
            Its id; `question.id` does not matter.

        Raises:
            sqlite3.Error.
        """
        row = {
            **_subject_row(question.subject),
            "text": question.text,
            "workload": question.workload,
            "section": question.section,
            "process": question.process,
            "pid": question.pid,
            "operation": question.operation,
            "syscall": question.syscall,
            "args": json.dumps(dict(question.args), default=str),
            "asked": question.asked,
            "within": question.within,
        }
        with self._writing():
            return self._insert("question", row)

    def end(self, id: int, resolution: Resolution, when: float, waited: float) -> None:  # noqa: A002
        """Store the outcome of a question.

        Raises:
            sqlite3.Error.
        """
        row: dict[str, Any] = {"state": resolution.state.value, "ended": when, "waited": waited}
        row["reason"] = resolution.why
        if resolution.answer is not None:
            row |= _answer_row(resolution.answer)
        sets = ", ".join(f"{name} = :{name}" for name in row)
        with self._writing():
            self._db.execute(f"UPDATE question SET {sets} WHERE id = :id", {**row, "id": id})  # noqa: S608

    def history(self, wanted: HistoryFilter) -> list[dict[str, Any]]:
        """How questions ended before, the latest first. May be called from any thread.

        Raises:
            sqlite3.Error.
        """
        given = {name: value for name, value in asdict(wanted).items() if value and name != "most"}
        # A key may have stars of its own; and this way there is an index for the two.
        exact = ("rule", "key") if wanted.key else ()
        tests = [f"{name} {'=' if name in exact else 'GLOB'} :{name}" for name in given]
        where = " AND ".join(["state != 'asked'", *tests])
        values = {**given, "most": wanted.most}
        name = f"{self._path.as_uri()}?mode=rw"  # a missing file is not created
        with closing(sqlite3.connect(name, timeout=BUSY_TIMEOUT_S, uri=True)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA query_only = ON")
            rows = db.execute(
                f"SELECT * FROM question WHERE {where} ORDER BY id DESC LIMIT :most",  # noqa: S608
                values,
            )
            return [dict(row) for row in rows]

    # -- grants

    def grants(self) -> list[StoredAnswer]:
        """All that hold, or will be found to have ended."""
        rows = self._db.execute(
            "SELECT * FROM granted WHERE revoked IS NULL AND origin != '' AND bound != '' "
            "ORDER BY id"
        )
        return [_grant(row) for row in rows]

    def grant(self, grant: StoredAnswer) -> int:
        """Keep a grant, which replaces an older one of the same subject.

        Returns:
            Its id.

        Raises:
            sqlite3.Error.
        """
        subject = _subject_row(grant.subject)
        where = " AND ".join(f"{name} = :{name}" for name in _SUBJECT)
        row = {
            **subject,
            "granted": int(grant.granted),
            **_person_row(grant.person),
            "reason": grant.reason,
            "question": grant.question,
            "made": grant.made,
            "until": grant.until,
        }
        with self._writing():
            self._db.execute(
                f"UPDATE granted SET revoked = :now, revoked_by = 'a later answer' "  # noqa: S608
                f"WHERE revoked IS NULL AND {where}",
                {**subject, "now": grant.made},
            )
            return self._insert("granted", row)

    def revoke(self, id: int, person: str, when: float) -> None:  # noqa: A002
        """Keep that a grant holds no more.

        Raises:
            sqlite3.Error.
        """
        with self._writing():
            self._db.execute(
                "UPDATE granted SET revoked = ?, revoked_by = ? WHERE id = ?", (when, person, id)
            )

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        statement = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608
        with closing(self._db.execute(statement, row)) as cursor:
            return cursor.lastrowid or 0


def user_path() -> Path:
    """Where an ordinary user's answers are kept: the XDG base directories."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "notifyd" / "notifyd.db"


def _remedy(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return "name a file that you may write"
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
        return "end who else has it open"
    return "move it away, and a new one is made"


def _subject_row(subject: Subject) -> dict[str, Any]:
    return {name: getattr(subject, name) for name in _SUBJECT}


def _person_row(person: Person) -> dict[str, Any]:
    return {
        "person": person.name,
        "person_uid": person.uid,
        "face": person.face,
        "place": person.place,
    }


def _answer_row(answer: Answer) -> dict[str, Any]:
    return {
        "granted": int(answer.granted),
        "scope": answer.scope.value,
        "minutes": answer.minutes if answer.scope is Scope.MINUTES else None,
        "reason": answer.reason,
        **_person_row(answer.person),
    }


def _grant(row: sqlite3.Row) -> StoredAnswer:
    return StoredAnswer(
        row["id"],
        Subject(*(row[name] for name in _SUBJECT)),
        bool(row["granted"]),
        Person(row["person"], row["person_uid"], row["face"], row["place"]),
        row["reason"],
        row["question"],
        row["made"],
        row["until"],
    )
