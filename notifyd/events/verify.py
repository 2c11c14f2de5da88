"""Verifying a log: every file, every record, every checkpoint. docs/reference/audit.md says how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from notifyd.errors import UsageError
from notifyd.events.chain import START, ChainLink, SealedLine, parse
from notifyd.events.findings import Finding, Report
from notifyd.events.reading import is_written, lines_of
from notifyd.events.signing import verifies
from notifyd.events.walk import Walk

__all__ = ["Verifier", "verify"]

_BEGUN = b'{"event":"audit.begun"'
_CHECKPOINT = b'{"event":"audit.checkpoint"'
_STEP = 10_000  # records between two reports of progress
# findings; a few bytes of gzip can have millions of lines that are no records
MAX_FINDINGS = 10_000
_HEADLESS = "the beginning of the file is missing"
_UNKNOWN = ChainLink(-1, b"")  # nothing is known of what is before the first record


def verify(
    files: Sequence[str],
    *,
    key: str = "",
    open_is_fine: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> Report:
    """Verify the files of one log.

    Args:
        files: in the order in which they were written.
        key: the public key that has to have signed every checkpoint; "" for any, or none.
        open_is_fine: whether the end may be missing, as of a copy of a log that is being written.
        progress: is called now and then with the number of records read.

    Raises:
        UsageError: a file cannot be opened.
    """
    verifier = Verifier(key)
    whole = all(_read(file, verifier, progress) for file in files)
    being_written = bool(files) and is_written(files[-1])
    if being_written:
        verifier.report.notes.append(f"{files[-1]} is being written")
    return verifier.end(open_is_fine=open_is_fine or being_written or not whole)


def _read(file: str, verifier: Verifier, progress: Callable[[int], object]) -> bool:
    """Have the lines of a file verified; False if so much is wrong that the rest is left."""
    number = 0
    findings = verifier.report.findings
    verifier.begin(file)
    try:
        for number, line in enumerate(lines_of(file), 1):
            verifier.take(number, line)
            if not verifier.report.records % _STEP:
                progress(verifier.report.records)
            if len(findings) >= MAX_FINDINGS:
                findings.append(Finding(file, number, 0, "given up"))
                return False
    except UsageError as error:
        if not number:
            raise
        findings.append(Finding(file, number, 0, "unreadable", str(error)))
    return True


class Verifier:
    """Takes the lines of a log one after the other; `end` says what came of it.

    Args:
        key: as of `verify`.
    """

    def __init__(self, key: str = "") -> None:
        self.report = Report()
        self._key = key
        self._walk: Walk | None = None
        self._junk: list[Finding] = []  # of lines just before that are no records
        self._last_junk = b""  # the last of those
        self._file, self._number = "", 0
        self._heads = False  # whether no record of the file has come yet
        self._ends: str | None = None
        self._signed = 0  # the number of the last record that a good signature covers

    def begin(self, file: str) -> None:
        """The next file."""
        self.report.files.append(file)
        self._file, self._number, self._ends = file, 0, None
        self._heads = True

    def take(self, number: int, line: bytes) -> None:
        """The next line of the file, with its newline."""
        self._number = number
        sealed = parse(line[:-1]) if line.endswith(b"\n") else None
        if sealed is None:
            self._not_a_record(line)
            return
        begun = _fields(line) if line.startswith(_BEGUN) else None
        self._forgive_torn(begun)
        if self._heads and (begun is None or begun.get("why") not in ("start", "rotation")):
            self._find(sealed.link.seq, "removed", _HEADLESS)
        self._heads = False
        before = self._follow(sealed, begun)
        self._junk.clear()
        self.report.records += 1
        self._ends = None
        if line.startswith(_CHECKPOINT):
            fields = _fields(line)
            self._ends = str(fields["ends"]) if fields.get("ends") else None
            if before is not None:
                self._check_signature(str(fields.get("key") or ""), sealed, before)

    def end(self, *, open_is_fine: bool) -> Report:
        """There are no more lines."""
        report, last = self.report, 0
        if self._walk is not None:
            self._walk.end()
            last = report.last = self._walk.link.seq
        if self._ends is None and report.files and not open_is_fine:
            report.findings.append(Finding(self._file, self._number, last, "cut"))
        if self._ends == "rotation":
            report.notes.append("it continues in another file, which is not among these")
        if (self._key or report.signed) and self._signed < last:
            first = max(self._signed + 1, report.first)
            report.notes.append(f"no signature covers records {first} to {last}")
        report.findings = [one for one in report.findings if one.kind]
        return report

    def _follow(self, sealed: SealedLine, begun: dict[str, Any] | None) -> bytes | None:
        """Have a record follow the one before it; returns the digest of that, if it does."""
        starts = begun is not None and begun.get("why") == "start"
        if self._walk is None or starts:
            self._begin(sealed, begun, starts)
        assert self._walk is not None
        before = self._walk.link
        if before == _UNKNOWN:
            self._walk.step(sealed.link)
            return None
        self._walk.junk = self._junk[:]
        return before.digest if self._walk.follow(sealed) else None

    def _begin(self, sealed: SealedLine, begun: dict[str, Any] | None, starts: bool) -> None:
        """Begin a chain with a record, or continue one whose beginning is not here."""
        seq = sealed.link.seq
        if self._walk is not None:
            self._walk.end()
        if starts and (self._walk is not None or self._junk):
            self._find(seq, "anew")
        if not self.report.first:
            self.report.first = seq
            if seq > 1:
                self.report.notes.append(f"records 1 to {seq - 1} are not in these files")
        before = ChainLink(seq - 1, _hex(begun.get("continues"))) if begun else _UNKNOWN
        self._walk = Walk(START if starts else before, self._find)

    def _not_a_record(self, line: bytes) -> None:
        finding = self._find(0, "not a record" if line.endswith(b"\n") else "torn")
        self._junk.append(finding)
        self._last_junk = line
        self._ends = None

    def _forgive_torn(self, begun: dict[str, Any] | None) -> None:
        """A line that a crash has torn, and that the next writer has marked, is not a finding."""
        if begun is None or not begun.get("torn") or not self._junk:
            return
        finding, rest = self._junk[-1], self._last_junk.removesuffix(b"\n")
        if begun["torn"] == len(rest) and begun.get("torn_sha256") == sha256(rest).hexdigest():
            finding.kind = ""
            self._junk.pop()
            self.report.notes.append(f"{finding.file}:{finding.line}: torn by a crash")

    def _check_signature(self, public: str, sealed: SealedLine, before: bytes) -> None:
        report = self.report
        report.checkpoints += 1
        if not (sealed.signature or public or self._key):
            return
        digest = sha256(before + sealed.unsigned).digest()
        if not verifies(public, digest, sealed.signature):
            self._find(sealed.link.seq, "signature")
        elif self._key and public != self._key:
            self._find(sealed.link.seq, "signature", f"the checkpoint is signed by {public}")
        else:
            report.signed += 1
            self._signed = sealed.link.seq
            if public not in report.keys:
                report.keys.append(public)

    def _find(self, seq: int, kind: str, said: str = "") -> Finding:
        finding = Finding(self._file, self._number, seq, kind, said)
        self.report.findings.append(finding)
        return finding


def _fields(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _hex(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        return b""
