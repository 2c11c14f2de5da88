"""Walking along a chain, and where it breaks, telling what was done to it.

The digests say that something is wrong, the numbers say what. A record that follows another one by
its digest belongs there whatever its number says, so a break is judged again when the next line is
known: `_Break` remembers what would explain it. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from notifyd.events.chain import ChainLink, SealedLine
from notifyd.events.findings import Finding

__all__ = ["Walk"]

_REMEMBERED = 1 << 16  # records of which it is known whether they come again


class _Break(NamedTuple):
    """A line that did not follow the one before it.

    Attributes:
        finding: what was said of it; None where lines that are no records say it.
        before: the digest before it: the next line follows that if this one was put in.
        computed: its digest as it should be: the next line follows that if its `chain` was changed.
        link: what it says itself.
    """

    finding: Finding | None
    before: ChainLink
    computed: bytes
    link: ChainLink


class _Gap(NamedTuple):
    """Numbers that were left out, both ends included."""

    first: int
    last: int
    finding: Finding


class Walk:
    """Takes records one after the other.

    Args:
        find: notes something that is wrong with the line at hand: its number and a kind.

    Attributes:
        link: the last record that is in its place.
        junk: findings of the lines just before that are no records.
    """

    def __init__(self, link: ChainLink, find: Callable[[int, str], Finding]) -> None:
        self.link = link
        self.junk: list[Finding] = []
        self._find = find
        self._before = link.digest  # of the line before, wherever that belongs
        self._break: _Break | None = None
        self._odd: Finding | None = None  # the line before, if its number is one of long ago
        self._gaps: list[_Gap] = []
        self._early: dict[int, tuple[bytes, Finding]] = {}
        self._seen: dict[int, bytes] = {}

    def follow(self, sealed: SealedLine) -> bool:
        """The next record; whether it follows the one that is `link` now."""
        link, broken, odd = sealed.link, self._break, self._odd
        self._break = self._odd = None
        computed = _digest(self.link.digest, sealed)
        if computed == link.digest:
            if link.seq != self.link.seq + 1 and broken is not None:
                self._amend(broken, "changed")  # its place is right, its number was not
            self.step(link)
        elif broken is not None and _digest(broken.computed, sealed) == link.digest:
            self.step(link)  # only the `chain` of the line before was changed
        elif broken is not None and _digest(broken.before.digest, sealed) == link.digest:
            self._put_in(broken)
            self.step(link)
        elif odd is not None and _digest(self._before, sealed) == link.digest:
            odd.kind = "changed"
            self.step(link)
        else:
            self._judge(sealed, computed, broken)
        self._before = link.digest
        self.junk.clear()
        return computed == link.digest

    def step(self, link: ChainLink) -> None:
        """Go on to a record without asking whether it follows."""
        self.link = link
        self._seen[link.seq] = link.digest
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def end(self) -> None:
        """Say of every gap how large it is in the end."""
        for gap in self._gaps:
            one = gap.first == gap.last
            gap.finding.said = (
                f"record {gap.first} is missing"
                if one
                else f"records {gap.first} to {gap.last} are missing"
            )

    def _judge(self, sealed: SealedLine, computed: bytes, broken: _Break | None) -> None:
        """It follows nothing that it could follow: its number has to say what happened."""
        link = sealed.link
        if broken is not None and broken.before.seq < link.seq < broken.link.seq:
            self._put_in(broken)  # that leapt ahead, and not the rest behind
            self.link = broken.before
            computed = _digest(self.link.digest, sealed)
        known = self.link
        if link.seq == known.seq + 1:
            self._break = _Break(self._find(link.seq, "changed"), known, computed, link)
            self.link = link
        elif link.seq > known.seq + 1:
            self._skip(sealed, computed)
        elif self._seen.get(link.seq) == link.digest:
            self._find(link.seq, "duplicated")
        elif self._fill(link.seq):
            self._find(link.seq, "reordered")
        else:
            self._odd = self._find(link.seq, "inserted")

    def _skip(self, sealed: SealedLine, computed: bytes) -> None:
        """Numbers are left out."""
        known, link = self.link, sealed.link
        count = link.seq - known.seq - 1
        finding: Finding | None = None
        if count == len(self.junk):  # those are no records any more, but they were these
            for at, changed in enumerate(self.junk, 1):
                changed.kind, changed.seq = "changed", known.seq + at
        elif count == 1 and self._came_early(link.seq - 1, sealed):
            self.step(link)
            return
        else:
            finding = self._find(link.seq, "removed")
            self._gaps.append(_Gap(known.seq + 1, link.seq - 1, finding))
        self._break = _Break(finding, known, computed, link)
        self.step(link)

    def _came_early(self, seq: int, sealed: SealedLine) -> bool:
        """Whether the record that is left out here stands further up."""
        digest, finding = self._early.pop(seq, (b"", None))
        if finding is None or _digest(digest, sealed) != sealed.link.digest:
            return False
        finding.kind = "reordered"
        return True

    def _put_in(self, broken: _Break) -> None:
        """The line before does not belong where it stands."""
        self._amend(broken, "inserted")
        if broken.finding is not None:
            self._early[broken.link.seq] = broken.link.digest, broken.finding
        self._seen.pop(broken.link.seq, None)

    def _amend(self, broken: _Break, kind: str) -> None:
        if broken.finding is not None:
            broken.finding.kind = kind
        self._gaps = [one for one in self._gaps if one.finding is not broken.finding]

    def _fill(self, seq: int) -> bool:
        """Whether a number is one that was left out; it is not any more."""
        for at, gap in enumerate(self._gaps):
            if gap.first <= seq <= gap.last:
                rest = [(gap.first, seq - 1), (seq + 1, gap.last)]
                left = [_Gap(first, last, gap.finding) for first, last in rest if first <= last]
                if not left:
                    gap.finding.kind = ""  # nothing is missing, it only stands elsewhere
                self._gaps[at : at + 1] = left
                return True
        return False


def _digest(before: bytes, sealed: SealedLine) -> bytes:
    return sha256(before + sealed.body).digest()
