"""What the charts show: how many calls got which verdict, and how long they took, over time.

The daemon counts for ever; a sample is what was counted since the last one. Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

__all__ = ["Sample", "Samples"]

MAX_SAMPLES = 150  # samples: five minutes, if one is taken every two seconds
_VERDICTS = "notifyd_answered_total"
_BUCKETS = "notifyd_call_seconds_bucket"


class Sample(msgspec.Struct, frozen=True):
    """What happened between two looks at the daemon.

    Attributes:
        time: of the later one, in seconds since 1970.
        seconds: between them.
        verdicts: calls by verdict.
        buckets: pairs of an upper bound in seconds, and how many calls took no longer and longer
            than the bound before; the last bound is null: no bound.
    """

    time: float
    seconds: float
    verdicts: dict[str, int]
    buckets: list[tuple[float | None, int]]


@dataclass(frozen=True, slots=True)
class _Counts:
    time: float
    verdicts: Mapping[str, float]
    buckets: Mapping[float, float]  # cumulative, as Prometheus has them


class Samples:
    """The latest samples."""

    def __init__(self) -> None:
        self.kept: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._last: _Counts | None = None

    def add(self, text: str, now: float) -> Sample | None:
        """Take the daemon's counts, in Prometheus' text format; the sample, if it is one.

        Counts that went backwards are those of another daemon: there is nothing to compare.
        """
        last, counts = self._last, _read(text, now)
        self._last = counts
        if last is None or now <= last.time:
            return None
        verdicts = {
            name: round(count - last.verdicts.get(name, 0))
            for name, count in counts.verdicts.items()
        }
        below = {
            bound: round(count - last.buckets.get(bound, 0))
            for bound, count in counts.buckets.items()
        }
        if any(count < 0 for count in (*verdicts.values(), *below.values())):
            return None
        sample = Sample(now, now - last.time, verdicts, list(_apart(below)))
        self.kept.append(sample)
        return sample

    def forget(self) -> None:
        """There is a gap: the next counts are not compared with the last."""
        self._last = None


def _read(text: str, now: float) -> _Counts:
    from prometheus_client.parser import text_string_to_metric_families

    verdicts: Counter[str] = Counter()
    buckets: Counter[float] = Counter()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == _VERDICTS:
                verdicts[one.labels.get("verdict", "")] += int(one.value)
            elif one.name == _BUCKETS:
                buckets[float(one.labels.get("le", "inf"))] += int(one.value)
    return _Counts(now, verdicts, buckets)


def _apart(below: Mapping[float, int]) -> Iterator[tuple[float | None, int]]:
    """Cumulative counts as counts of their own."""
    before = 0
    for bound in sorted(below):
        yield (None if bound == float("inf") else bound), max(0, below[bound] - before)
        before = below[bound]
