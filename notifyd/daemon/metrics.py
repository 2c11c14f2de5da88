"""The daemon's counts for Prometheus.

Owns names, labels and buckets. A counter never goes backwards: workloads come and go, so what is
counted by workload is about those that are here, and what is counted over all of them stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from notifyd.daemon.daemon import Daemon
from notifyd.daemon.workload import Workload
from notifyd.events.counters import Counter, Counters

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["METRICS", "metrics_text"]

MAX_WORKLOAD_SERIES = 512  # with series of their own; those that came later are in the totals only
# Upper bounds of the histogram, as powers of two of nanoseconds: 4.1 µs to 8.6 s.
BOUNDS = (12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 33)

METRICS: Mapping[str, tuple[str, tuple[str, ...], str]] = MappingProxyType(
    {
        "notifyd_calls_total": (
            "counter",
            ("workload", "operation", "verdict", "how"),
            "Calls answered for the workloads that are here",
        ),
        "notifyd_answered_total": (
            "counter",
            ("operation", "verdict", "how"),
            "Calls answered since the daemon began, for all workloads",
        ),
        "notifyd_call_seconds": (
            "histogram",
            ("operation",),
            "Seconds from receiving a call to answering it, since the daemon began",
        ),
        "notifyd_pending": ("gauge", ("workload",), "Calls that wait for their answers"),
        "notifyd_workloads": ("gauge", (), "Workloads that are supervised"),
        "notifyd_arrivals_refused_total": (
            "counter",
            ("arrival",),
            "Connections and listeners that came to nothing",
        ),
        "notifyd_rule_errors_total": (
            "counter",
            (),
            "Rules that raised, were too slow, or did not return a verdict",
        ),
        "notifyd_start_time_seconds": ("gauge", (), "When the daemon began, since 1970"),
    }
)


def metrics_text(daemon: Daemon) -> str:
    """The counts, in Prometheus' text format."""
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(daemon))
    return generate_latest(registry).decode()


class _Collector:
    """What prometheus-client asks for numbers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def describe(self) -> list[Metric]:
        """Nothing: the registry is this daemon's alone."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family of `METRICS`, in its order."""
        daemon = self._daemon
        shown = list(islice(daemon.workloads.values(), MAX_WORKLOAD_SERIES))
        total = Counters()
        for counters in (
            daemon.past,
            *(one.reporter.counters for one in daemon.workloads.values()),
        ):
            total.merge(counters)
        yield _calls(shown)
        yield _family("notifyd_answered_total", _by_fate(total))
        yield _seconds(total)
        yield _family("notifyd_pending", {(one.id,): one.pending for one in shown})
        yield _family("notifyd_workloads", {(): len(daemon.workloads)})
        refused = {(kind,): count for kind, count in daemon.arrivals.refused.items()}
        yield _family("notifyd_arrivals_refused_total", refused)
        yield _family("notifyd_rule_errors_total", {(): total.errors})
        yield _family("notifyd_start_time_seconds", {(): daemon.since})


def _family(name: str, values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind, labels, text = METRICS[name]
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family = make(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _by_fate(counters: Counters) -> dict[tuple[str, ...], float]:
    """Counts by operation, verdict and how; errnos together."""
    found: dict[tuple[str, ...], float] = {}
    for (operation, verdict, how, _), one in counters.sums().items():
        found[operation, verdict, how] = found.get((operation, verdict, how), 0) + one.count
    return found


def _calls(shown: list[Workload]) -> Metric:
    values = {
        (one.id, *fate): count
        for one in shown
        for fate, count in _by_fate(one.reporter.counters).items()
    }
    return _family("notifyd_calls_total", values)


def _seconds(total: Counters) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    _, labels, text = METRICS["notifyd_call_seconds"]
    family = HistogramMetricFamily("notifyd_call_seconds", text, labels=labels)
    sums: dict[str, Counter] = {}
    for (operation, *_), one in total.sums().items():
        sums.setdefault(operation, Counter()).merge(one)
    for operation, one in sums.items():
        buckets = [(str(2**n / 1e9), sum(one.scale[: n + 1])) for n in BOUNDS]
        family.add_metric([operation], [*buckets, ("+Inf", one.count)], one.total_ns / 1e9)
    return family
