"""The audit file: lines of JSON, chained and appended. Owns its place; knows no engine.

Whatever goes wrong with the file, the engine must go on. So writing never raises and never waits
for a reader: what cannot be written is counted, told once, and the gap is marked in the file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from notifyd.errors import UsageError
from notifyd.events.chain_writer import ChainWriter
from notifyd.events.encode import encode_event
from notifyd.events.errnos import errno_name
from notifyd.events.logfile import Begin, left_behind, open_log
from notifyd.events.redact import Redactor
from notifyd.events.rotation import Rotation, RotationPolicy
from notifyd.events.signing import Signer
from notifyd.events.stream import EventStream

__all__ = ["JsonLines", "LogSettings", "to_stderr"]

LOG_CLOSE_TIMEOUT_S = 2.0  # seconds that closing waits for a reader that is slow
MAX_UNSIGNED_RECORDS = 4096  # records between two signed checkpoints
CHECKPOINT_INTERVAL_S = 60.0  # seconds between them, if there is anything new
_OWN = b'{"event":"audit.'  # what such a record begins with: no other event is called so
DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a log is kept.

    Attributes:
        keeping: when a new file begins.
        signer: signs checkpoints; without one they only mark the end of a file.
        redactor: hides fields.
        patient: whether events wait in memory, as for a slow reader, while the disk is full.
    """

    keeping: RotationPolicy = field(default_factory=RotationPolicy)
    signer: Signer | None = None
    redactor: Redactor | None = None
    patient: bool = False


class JsonLines(EventStream):
    """A stream that appends to a file. Use it as a context manager, or call `close`.

    Attributes:
        lost: events that could not be written, so far.
        full: whether the disk is full, as far as is known.
        on_full: called when that changes, with what it is now; must neither wait nor raise.
    """

    def __init__(self, path: str, complain: Callable[[str], None], manner: LogSettings) -> None:
        super().__init__(manner.redactor)
        self.lost = 0
        self.full = False
        self.on_full: Callable[[bool], object] = lambda _: None
        self._path = path
        self._complain = complain
        self._signer = manner.signer
        self._patient = frozenset({errno.EAGAIN}) | (
            DISK_FULL_ERRNOS if manner.patient else frozenset()
        )
        self._gap = self._gap_error = 0  # events lost since the file last heard of it, and why
        self._full_since: float | None = None  # monotonic; until the file has heard of it
        self._has_begun = False  # whether the file has its `audit.begun`
        self._rotation = Rotation(path, manner.keeping, complain)
        descriptor = open_log(path)
        try:
            self._begin(descriptor, left_behind(descriptor, path))
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        complain: Callable[[str], None] | None = None,
        manner: LogSettings | None = None,
    ) -> Self:
        """Open or create `path`, mode 0600. Its end is where events go, after what is there.

        Args:
            path: a file, a FIFO or a character device; no directory and no disk.
            complain: gets one line for each gap as it begins, and at the end the total;
                default writes to standard error.
            manner: how it is kept.

        Raises:
            UsageError: it cannot be opened, or another one writes it; the text says what to do.
        """
        name = os.fspath(path)
        if os.path.isfile(name):  # of a link, the file is rotated
            name = os.path.realpath(name) if _is_plain(name) else name
        return cls(name, complain or to_stderr, manner or LogSettings())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, tell of the losses, close the file. A second time does nothing.

        The only method that may wait: up to `LOG_CLOSE_TIMEOUT_S` for a reader that is slow, and
        for older files to be packed.
        """
        if self._ledger.descriptor < 0:
            return
        self.flush()
        self._account(self._ledger.wait_for_reader(LOG_CLOSE_TIMEOUT_S))
        if not self._has_begun and self._ledger.link.seq and not self._ledger.waiting:
            self._put(b"")  # a file that another one led to is not empty
        if self._is_at_ease():
            self._checkpoint("stop")
        self._account(self._ledger.drop())
        try:
            self._ledger.close()
        except OSError as failure:
            self._complain(f"audit: {self._path!r}: {failure.strerror}; its end may be missing")
        self._rotation.close()
        if self.lost:
            self._complain(f"audit: {self.lost} events in all are missing in {self._path!r}")
        super().close()

    def tick(self) -> None:
        """Do what is due without an event. For now and then, where no call may come for long."""
        self.flush()
        if self._ledger.descriptor < 0:
            return
        if self._gap or self._full_since is not None:
            self._put(b"")
        self._do_what_is_due(0)

    def rotate(self) -> bool:
        """Begin a new file. The old one gets another name, unless it was renamed already.

        Returns:
            False if that is not possible: it is not a file, or cannot be written now.
        """
        if self._ledger.descriptor < 0 or not self._rotation.is_file:
            return False
        self.flush()
        if not self._has_begun:
            self._put(b"")
        if not self._is_at_ease():
            return False
        self._checkpoint("rotation")
        return not self._ledger.waiting and self._begin_anew()

    # -- writing

    def _store(self, new: bytes) -> None:
        # In one write if the file takes it all. EAGAIN (a slow reader) keeps up to 256 KiB for
        # later; any other error loses the batch.
        if self._ledger.descriptor >= 0 and (new or self._ledger.waiting):
            self._do_what_is_due(len(new))
            self._put(new)

    def _put(self, new: bytes) -> None:
        """Write what waits, how the file begins, a mark for what was lost, and what is new."""
        if self.full:
            self._account(self._ledger.append(()))  # how long it was full is said once it is not
        own = [] if self._has_begun else [self._begun]
        own += self._mark()
        self._has_begun = True  # and there is no gap: unless that is among what is dropped
        self._account(self._ledger.append([*own, *new.splitlines()]))
        self._notice_full()

    def _mark(self) -> list[bytes]:
        """What is missing here; the file has heard of it then."""
        if self._full_since is not None and not self._ledger.waiting:
            lasted = round(time.monotonic() - self._full_since, 3)
            said = {"level": "error", "lines": self._gap, "error": errno_name(self._gap_error)}
            self._gap, self._full_since = 0, None
            return [_record("audit.full", {**said, "lasted_s": lasted})]
        if not self._gap:
            return []
        said = {"lines": self._gap, "error": errno_name(self._gap_error)}
        self._gap = 0
        return [_record("audit.lost", said)]

    def _account(self, dropped: list[bytes]) -> None:
        """Count the events among lines that the file did not take; the file's own come again."""
        events = 0
        for line in dropped:
            if not line.startswith(_OWN):
                events += 1
                continue
            fields = msgspec.json.decode(line, type=dict[str, Any])
            self._gap += fields.get("lines", 0)
            if fields["event"] == "audit.begun":
                self._has_begun = False
            elif fields["event"] == "audit.full":
                self._full_since = time.monotonic() - fields["lasted_s"]
        error = self._ledger.error
        if events and not self._gap and error not in DISK_FULL_ERRNOS:
            self._complain(f"audit: {self._path!r}: {os.strerror(error)}; events are being lost")
        if events:
            self.lost += events
            self._gap += events
            self._gap_error = error

    def _notice_full(self) -> None:
        error = self._ledger.error
        if error in DISK_FULL_ERRNOS and not self.full:
            if self._full_since is None:
                self._full_since = time.monotonic()
            self._gap_error = error
            self.full = True
            then = (
                "calls are refused" if DISK_FULL_ERRNOS & self._patient else "events are being lost"
            )
            self._complain(f"audit: {self._path!r}: {os.strerror(error)}; {then}")
            self.on_full(True)
        elif not error and self.full:
            self.full = False
            self._complain(f"audit: {self._path!r} can be written again")
            self.on_full(False)

    # -- files and checkpoints

    def _is_at_ease(self) -> bool:
        at_odds = self._ledger.waiting or self._gap or self._full_since is not None
        return not at_odds and self._has_begun

    def _do_what_is_due(self, more: int) -> None:
        if not self._is_at_ease():
            return
        if self._rotation.is_due(self._ledger.written, more):
            self._checkpoint("rotation")
            if not self._ledger.waiting:
                self._begin_anew()
        elif self._signer is not None:
            new = self._ledger.link.seq - self._checked
            if new >= MAX_UNSIGNED_RECORDS or (
                new and time.monotonic() - self._checked_at >= CHECKPOINT_INTERVAL_S
            ):
                self._checkpoint(None)

    def _checkpoint(self, ends: str | None) -> None:
        """Write a checkpoint; `ends` says why nothing comes after it in this file."""
        fields: dict[str, Any] = {"ends": ends}
        if self._signer is None:
            self._account(self._ledger.append([_record("audit.checkpoint", fields)]))
        else:
            fields["key"] = self._signer.public
            record = _record("audit.checkpoint", fields)
            self._account(self._ledger.append_signed(record, self._signer))
        self._checked, self._checked_at = self._ledger.link.seq, time.monotonic()
        self._notice_full()

    def _begin(self, descriptor: int, begin: Begin) -> None:
        self._ledger = ChainWriter(descriptor, begin.link, torn=begin.torn, patient=self._patient)
        self._begun, self._has_begun = _record("audit.begun", begin.said), False
        self._first = self._checked = begin.link.seq + 1
        self._checked_at = time.monotonic()
        self._rotation.begin(descriptor)

    def _begin_anew(self) -> bool:
        old, name = self._ledger, ""
        try:
            name = self._rotation.move(old.descriptor, self._first)
            descriptor = open_log(self._path)
        except (OSError, UsageError) as error:
            self._rotation.failed(name, error)
            return False
        said = {"why": "rotation", "continues": old.link.digest.hex(), "file": name or None}
        self._begin(descriptor, Begin(old.link, said))
        try:
            old.close()
        except OSError as error:
            self._complain(f"audit: {name!r}: {error.strerror}; its end may be missing")
        self._rotation.prune()
        return True


def to_stderr(text: str) -> None:
    """Tell the person, or the journal."""
    with contextlib.suppress(OSError):  # its reader may be gone
        print(f"notifyd: {text}", file=sys.stderr)


def _record(name: str, fields: Mapping[str, Any]) -> bytes:
    return encode_event(name, fields)[:-1]


def _is_plain(name: str) -> bool:
    """Whether a link is one that `open_log` would follow, and not one of the kernel's own."""
    link = os.lstat(name)
    return link.st_uid in (0, os.geteuid()) and not os.path.realpath(name).startswith("/proc/")
