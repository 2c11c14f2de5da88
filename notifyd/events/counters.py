"""The table at the end of a run: what was asked how often, what it got, how long it took at most.

Owns counts only; nothing of a target's own text comes in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from notifyd.events.errnos import errno_name

__all__ = ["Counter", "CounterRow", "Counters", "Key", "is_refusal"]

Key: TypeAlias = tuple[str, str, str, int]
"""Operation, verdict, how, errno."""

FOLD = 1024  # times kept of one kind before they are added up
NONE = "no calls left the kernel"
_HEAD = ("operation", "verdict", "result", "count", "slowest")
_WIDEST = 28  # of one text column: two such, two short ones and their gaps are below 80


@dataclass(frozen=True, slots=True)
class CounterRow:
    """Calls that had the same fate.

    Attributes:
        result: the errno's name, or how the call was answered where there is none.
        slowest_ns: the longest from receiving to answering; `total_ns` is all of them together.
    """

    operation: str
    verdict: str
    result: str
    count: int
    slowest_ns: int
    total_ns: int


@dataclass(slots=True)
class Counter:
    """Calls of one kind, added up.

    Attributes:
        scale: at n, how many took from 2**(n-1) to below 2**n nanoseconds; at 0, none at all.
    """

    count: int = 0
    slowest_ns: int = 0
    total_ns: int = 0
    scale: list[int] = field(default_factory=lambda: [0] * 65)

    def add(self, times: Sequence[int]) -> None:
        """Add calls, by their nanoseconds; at least one."""
        self.count += len(times)
        self.slowest_ns = max(self.slowest_ns, *times)
        self.total_ns += sum(times)
        scale = self.scale
        for at in map(int.bit_length, times):
            scale[at] += 1

    def merge(self, other: Counter) -> None:
        """Add what another one has added up."""
        self.count += other.count
        self.slowest_ns = max(self.slowest_ns, other.slowest_ns)
        self.total_ns += other.total_ns
        for at, number in enumerate(other.scale):
            self.scale[at] += number


class Counters:
    """Counts answered calls by operation, verdict, how and errno.

    Attributes:
        times: nanoseconds of calls that are not added up yet. The hot path appends to it, and has
            `fold` called now and then.
        errors: rules that failed: raised, were too slow, or did not return a verdict.
    """

    __slots__ = ("_sums", "errors", "times")

    def __init__(self) -> None:
        self.times: defaultdict[Key, list[int]] = defaultdict(list)
        self._sums: defaultdict[Key, Counter] = defaultdict(Counter)
        self.errors = 0

    def add(self, operation: str, verdict: str, how: str, errno: int, took_ns: int) -> None:
        """Count one call. Hot: one append; adding up waits until there are many or someone asks."""
        times = self.times[operation, verdict, how, errno]
        times.append(took_ns)
        if len(times) >= FOLD:
            self._fold((operation, verdict, how, errno), times)

    def sums(self) -> Mapping[Key, Counter]:
        """What was counted. It stays the counters'."""
        self.fold()
        return self._sums

    @property
    def refused(self) -> int:
        """How many calls were refused, as `is_refusal` says."""
        return sum(
            one.count
            for (_, verdict, how, errno), one in self.sums().items()
            if is_refusal(verdict, how, errno != 0)
        )

    def merge(self, other: Counters) -> None:
        """Count what another one has counted."""
        for key, one in other.sums().items():
            self._sums[key].merge(one)
        self.errors += other.errors

    def rows(self) -> list[CounterRow]:
        """What was counted, the most frequent first."""
        found = [
            CounterRow(
                operation,
                verdict,
                errno_name(errno) if errno else how,
                one.count,
                one.slowest_ns,
                one.total_ns,
            )
            for (operation, verdict, how, errno), one in self.sums().items()
        ]
        return sorted(found, key=lambda row: (-row.count, row.operation, row.verdict, row.result))

    def table(self) -> str:
        """The rows as plain text of at most 80 columns, without a newline at the end."""
        rows = self.rows()
        if not rows:
            return NONE
        cells = [
            (row.operation, row.verdict, row.result, f"{row.count:,}", duration(row.slowest_ns))
            for row in rows
        ]
        count, total = sum(row.count for row in rows), sum(row.total_ns for row in rows)
        calls = "1 call" if count == 1 else f"{count:,} calls"
        return "\n".join([*_aligned([_HEAD, *cells]), f"{calls}, {duration(total)} in all"])

    def fold(self) -> None:
        """Add up what was appended."""
        for key, times in self.times.items():
            if times:
                self._fold(key, times)

    def _fold(self, key: Key, times: list[int]) -> None:
        self._sums[key].add(times)
        times.clear()


def is_refusal(verdict: str, how: str, failed: bool) -> bool:
    """Whether a target did not get what it asked for because of us.

    A call that notifyd performed and the kernel refused (ENOENT, say) does not count.

    Args:
        verdict: as in `CallRecord`.
        how: as in `CallRecord`.
        failed: whether the target got an errno.
    """
    if verdict == "kill":
        return True
    if how == "gone":
        return False
    return verdict == "deny" or (how == "answered" and failed)


def duration(nanoseconds: int) -> str:
    """`12.3 µs`, `4.6 ms`, `7.8 s`."""
    for unit, size in (("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1_000:
            return f"{nanoseconds / size:.1f} {unit}"
    return f"{nanoseconds / 1_000_000_000:,.1f} s"


def _aligned(cells: Sequence[tuple[str, str, str, str, str]]) -> list[str]:
    """Columns two spaces apart: texts to the left, numbers to the right."""
    short = [tuple(_shortened(text, at) for at, text in enumerate(row)) for row in cells]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    # Two long text columns leave too little for the third; the operation gives way.
    over = sum(widths) + 2 * (len(widths) - 1) - 80
    if over > 0:
        widths[0] -= over
    return [
        "  ".join(
            _fit(text, width) if at < 3 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in short
    ]


def _shortened(text: str, at: int) -> str:
    return _fit(text, _WIDEST).rstrip() if at < 3 else text


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"
