"""What is wrong with a log, and where. Values only; `verify` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FINDING_KINDS", "Finding", "Report"]

FINDING_KINDS = {
    "changed": "the record is not what was written",
    "removed": "records are missing before this line",
    "inserted": "the record does not belong here",
    "duplicated": "the record was there before",
    "reordered": "the record belongs further up",
    "not a record": "the line is not a record of a chain",
    "torn": "the line does not end",
    "cut": "the log does not end here: its end is missing, or its writer was killed",
    "anew": "the chain starts again: what is above does not belong to it",
    "signature": "the checkpoint is not signed as it should be",
    "unreadable": "the file cannot be read to its end",
    "given up": "too many errors: what follows this line was not verified",
}
"""The kinds of findings, with what they mean."""


@dataclass(slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: where.
        line: counted from 1; 0 for the file as a whole.
        seq: the number of the record, as its line says or as it should be; 0 if it has none.
        kind: one of `FINDING_KINDS`; "" for one that has turned out to be none.
        said: more about it, for a person.
    """

    file: str
    line: int
    seq: int
    kind: str
    said: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        number = f" (seq {self.seq})" if self.seq else ""
        return f"{place}{number}: {self.kind}: {self.said or FINDING_KINDS[self.kind]}"


@dataclass(slots=True)
class Report:
    """What came of verifying.

    Attributes:
        files: those that were read, in their order.
        records: how many there are.
        first: the number of the first record; `last`, of the last.
        checkpoints: how many there are; `signed`, how many of them have a good signature.
        keys: the public keys of those.
        findings: what is wrong, in the order of the files.
        notes: what is worth knowing and not wrong.
    """

    files: list[str] = field(default_factory=list)
    records: int = 0
    first: int = 0
    last: int = 0
    checkpoints: int = 0
    signed: int = 0
    keys: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings
