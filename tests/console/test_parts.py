"""Where the console listens, what its charts show, and that its files are plain."""

import json
import math
import re
from importlib.resources import files

import pytest
from faking import METRICS

from notifyd.console.listening import ListenAddress
from notifyd.console.samples import MAX_SAMPLES, Samples
from notifyd.errors import UsageError
from notifyd.policy.verdicts import VERDICTS

STATIC = list(files("notifyd.console").joinpath("static").iterdir())


def test_the_page_knows_every_verdict():
    """Its chart and its filter read one list."""
    (charts,) = (one for one in STATIC if one.name == "charts.js")
    listed = re.search(r"^export const VERDICTS = (\[.*\]);$", charts.read_text(), re.M)
    assert listed is not None
    assert set(json.loads(listed[1])) == {verdict.kind for verdict in VERDICTS}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8470", "127.0.0.1", 8470), ("[::1]:1", "::1", 1), ("127.9.9.9:0", "127.9.9.9", 0)],
)
def test_loopback(text, host, port):
    """Addresses of this machine alone."""
    listen = ListenAddress.parse(text)
    assert (listen.host, listen.port, listen.is_loopback) == (host, port, True)


@pytest.mark.parametrize("text", ["0.0.0.0:80", "192.0.2.1:80", "[::]:80", "[::ffff:1.2.3.4]:80"])
def test_others_have_to_be_asked_for(text):
    """Whoever can be reached from elsewhere has to have said so."""
    with pytest.raises(UsageError, match="--insecure-listen"):
        ListenAddress.parse(text)
    assert not ListenAddress.parse(text, insecure=True).is_loopback


@pytest.mark.parametrize("text", ["", "8470", "localhost:1", "127.0.0.1", "127.0.0.1:99999", "::"])
def test_what_is_no_place(text):
    """One line says how to write it."""
    with pytest.raises(UsageError, match="write it as"):
        ListenAddress.parse(text)


def test_the_token_is_behind_the_hash():
    """Browsers send that to nobody."""
    assert ListenAddress.parse("[::1]:0").url(81, "t") == "http://[::1]:81/#token=t"
    assert ListenAddress.parse("unix:/a").url(0, "t").partition("#")[2] == "token=t"


def counts(allow: int, deny: int) -> str:
    """The daemon's counts."""
    return METRICS.format(allow=allow, deny=deny, both=allow + deny)


def test_samples():
    """What was counted between two looks; nothing for the first one, or another daemon's."""
    samples = Samples()
    assert samples.add(counts(10, 1), 100.0) is None
    sample = samples.add(counts(25, 3), 102.0)
    assert (sample.seconds, sample.verdicts) == (2.0, {"allow": 15, "deny": 2})
    assert sample.buckets == [(0.000016384, 15), (0.001048576, 2), (None, 0)]
    assert samples.add(counts(1, 1), 104.0) is None
    assert samples.add(counts(2, 1), 106.0).verdicts == {"allow": 1, "deny": 0}
    samples.forget()
    assert samples.add(counts(9, 9), 108.0) is None
    for at in range(2 * MAX_SAMPLES):
        samples.add(counts(9 + at, 9), 110.0 + at)
    assert len(samples.kept) == MAX_SAMPLES
    assert all(math.isfinite(one.seconds) for one in samples.kept)


def test_nothing_is_fetched_from_elsewhere():
    """No other host, no inline script or style, no way from text to markup, no build."""
    assert {one.name for one in STATIC} >= {"index.html", "app.js", "style.css"}
    for one in STATIC:
        text = one.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), one.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        if one.name == "index.html":
            assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", text)
        assert len(text.splitlines()) <= 250
