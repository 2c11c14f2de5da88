"""Counts for Prometheus: what they say, that they never go backwards, and who gets them."""

import contextlib
import math
import socket

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from notifyd.daemon.metrics import BOUNDS, MAX_WORKLOAD_SERIES, METRICS, metrics_text
from notifyd.daemon.metrics_port import MAX_METRICS_CONNECTIONS, open_port, serve_metrics
from notifyd.errors import UsageError
from notifyd.events.counters import Counter
from notifyd.intake.arrival import Peer
from notifyd.intake.oci import OCI


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in their names' order."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_what_is_counted(live):
    """By workload, and over all; what the table says is there, and no more."""

    async def work(ground):
        daemon = ground.daemon
        ground.call("web", b"pppg")
        ground.call("db", b"ps")
        await ground.counted(daemon.workloads["web"], 4)
        await ground.counted(daemon.workloads["db"], 2)
        ground.call("db", b"u")
        await ground.until(lambda: daemon.workloads["db"].pending)
        daemon.arrivals.refuse(OCI, Peer(1, 2, 3, "x"), "nobody wants it")
        text = metrics_text(daemon)
        assert {line.split()[2] for line in text.splitlines() if line[:6] == "# TYPE"} == set(
            METRICS
        )
        found = samples(text)
        calls = "notifyd_calls_total"
        assert found[calls, "answered", "Raw", "return", "web"] == 3
        assert found[calls, "answered", "Raw", "deny", "web"] == 1
        assert found[calls, "answered", "Raw", "return", "db"] == 1
        assert found["notifyd_answered_total", "answered", "Raw", "return"] == 4
        assert found["notifyd_answered_total", "answered", "Raw", "deny"] == 2
        assert found["notifyd_pending", "db"] == 1
        assert found["notifyd_pending", "web"] == 0
        assert found["notifyd_workloads",] == 2
        assert found["notifyd_rule_errors_total",] == 1
        assert found["notifyd_arrivals_refused_total", "oci"] == 1
        assert found["notifyd_call_seconds_count", "Raw"] == 6
        assert found["notifyd_call_seconds_bucket", "+Inf", "Raw"] == 6
        assert 0 < found["notifyd_call_seconds_sum", "Raw"] < 6
        async with ground.client() as client:
            answer = await client.ask("metrics")
            assert samples(answer["text"]).keys() == found.keys()

    live(work, children=("web", "db"))


def test_totals_never_go_backwards(live):
    """What has ended stays in the totals, and leaves no labels behind."""

    async def work(ground):
        before: dict[tuple[str, ...], float] = {}
        for turn in range(1, 4):
            supervised = ground.start(f"w{turn}")
            ground.call(f"w{turn}", b"ps")
            await ground.counted(supervised, 2)
            during = samples(metrics_text(ground.daemon))
            supervised.kill()
            await ground.until(lambda: not ground.daemon.workloads)
            after = samples(metrics_text(ground.daemon))
            for earlier, later in ((before, during), (during, after)):
                for key, value in earlier.items():
                    if key[0].startswith(("notifyd_answered", "notifyd_call_s", "notifyd_rule")):
                        assert later[key] >= value
            before = after
            assert after["notifyd_answered_total", "answered", "Raw", "return"] == turn
            assert after["notifyd_rule_errors_total",] == turn
            assert not [key for key in after if f"w{turn}" in key]

    live(work)


def test_labels_are_bounded(live):
    """Beyond some workloads the rest is in the totals only."""

    async def work(ground):
        one = ground.daemon.workloads["web"]
        for number in range(MAX_WORKLOAD_SERIES + 10):
            ground.daemon.workloads[f"more-{number}"] = one
        found = samples(metrics_text(ground.daemon))
        assert len([key for key in found if key[0] == "notifyd_pending"]) <= MAX_WORKLOAD_SERIES
        assert found["notifyd_workloads",] == MAX_WORKLOAD_SERIES + 11
        for number in range(MAX_WORKLOAD_SERIES + 10):
            del ground.daemon.workloads[f"more-{number}"]

    live(work, children=("web",))


def test_names_are_anybodys(live):
    """A workload may be called what it likes."""
    name = 'a"b\\c{x="1"} 7\u2028\x1b[31m'

    async def work(ground):
        ground.call(name, b"p")
        await ground.counted(ground.daemon.workloads[name], 1)
        found = samples(metrics_text(ground.daemon))
        assert found["notifyd_calls_total", "answered", "Raw", "return", name] == 1

    live(work, children=(name,))


@pytest.mark.parametrize("took", [0, 1, 4095, 4096, 4097, 10**6, 2**33, 10**12, 2**63])
def test_buckets(took):
    """A time is in the bucket that its bound says, and in all above."""
    one = Counter()
    one.add([took])
    for power in BOUNDS:
        assert sum(one.scale[: power + 1]) == (took < 2**power)
    assert (one.count, one.slowest_ns, one.total_ns) == (1, took, took)


def test_merging():
    """Sums of parts are the sum of all."""
    times = [int(math.exp(n)) for n in range(20)]
    whole, left, right = Counter(), Counter(), Counter()
    whole.add(times)
    left.add(times[::2])
    right.add(times[1::2])
    left.merge(right)
    assert left == whole


async def fetch(port: int, request: bytes) -> bytes:
    """What the port answers, until it closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        return b"".join([piece async for piece in stream])


GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


def with_port(live, work, **more) -> None:
    """Run `work(ground, port)` while the metrics are served."""

    async def serving(ground):
        with open_port(0) as server:
            host, port = server.getsockname()
            assert host == "127.0.0.1"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: serve_metrics(server, ground.daemon, **more))
                await work(ground, port)
                nursery.cancel_scope.cancel()

    live(serving, children=("web",))


def test_the_port(live):
    """Prometheus fetches the metrics; nothing else is there."""

    async def work(ground, port):
        head, _, body = (await fetch(port, GET % b"/metrics")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/plain; version=0.0.4" in head
        assert samples(body.decode())["notifyd_workloads",] == 1
        head, _, body = (await fetch(port, b"HEAD /metrics HTTP/1.0\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
        assert (await fetch(port, GET % b"/")).startswith(b"HTTP/1.1 404")
        post = (GET % b"/metrics").replace(b"GET", b"POST")
        assert (await fetch(port, post)).startswith(b"HTTP/1.1 404")

    with_port(live, work)


@pytest.mark.parametrize("data", [b"\x00\xff\r\n\r\n", b"GET " + b"x" * 50_000, b"GET / HT", b""])
def test_nonsense_at_the_port(live, data):
    """It gets nothing, soon, and hurts nobody."""

    async def work(ground, port):
        with trio.fail_after(9), contextlib.suppress(trio.BrokenResourceError):
            assert await fetch(port, data) == b""
        assert (await fetch(port, GET % b"/metrics")).startswith(b"HTTP/1.1 200")

    with_port(live, work, patience=2)


@pytest.mark.parametrize("said", [b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_crowd_at_the_port(live, said):
    """Those that never finish a request are bounded, the oldest goes, and nobody is kept out."""

    async def work(ground, port):
        crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(200)]
        for one in crowd[-MAX_METRICS_CONNECTIONS:]:
            await one.send_all(said)
        with trio.fail_after(60):
            assert (await fetch(port, GET % b"/metrics")).startswith(b"HTTP/1.1 200")
            for one in crowd[:-MAX_METRICS_CONNECTIONS]:
                assert await one.receive_some(1) == b""  # at once: patience is longer than this
        for one in crowd:
            await one.aclose()

    with_port(live, work, patience=600)


def test_headers_without_end(live):
    """They end the connection once they are longer than any request's."""

    async def work(ground, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\n")
            with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"X: y\r\n" * 1000)

    with_port(live, work, patience=600)


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["127.0.0.1"], 200),
        (["LocalHost:9798"], 200),
        (["[::1]:9798"], 200),
        (["evil.example"], 421),
        (["127.0.0.1.evil.example"], 421),
        (["localhost.evil.example:9798"], 421),
        (["localhost@evil.example"], 421),
        (["\xff"], 421),
        ([""], 421),
    ],
)
def test_who_is_asked_for(live, hosts, status):
    """A browser that was led here by a page's name learns nothing."""

    async def work(ground, port):
        fields = "".join(f"Host: {one}\r\n" for one in hosts)
        said = await fetch(port, f"GET /metrics HTTP/1.1\r\n{fields}\r\n".encode("latin-1"))
        assert said.startswith(b"HTTP/1.1 %d" % status)
        assert (b"notifyd_workloads" in said) == (status == 200)

    with_port(live, work)


def test_a_port_that_is_taken():
    """It is said at once, with the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: .*: give another port"):
            open_port(port)
