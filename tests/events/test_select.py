"""Choosing events by what is asked for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.errors import UsageError
from notifyd.events.select import Selection, moment

NOW = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
EVENT = {
    "event": "call",
    "time": "2026-10-05T11:30:00.000000Z",
    "workload": "web-1",
    "operation": "Rename",
    "verdict": "deny",
    "rule": "a.py:f",
    "args": {"oldpath": "/etc/a", "newpath": "/tmp/b"},
}


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({}, True),
        ({"workload": "web-*"}, True),
        ({"workload": "web"}, False),
        ({"operation": "Rename", "verdict": "deny"}, True),
        ({"operation": "Rename", "verdict": "allow"}, False),
        ({"path": "/etc/*"}, True),
        ({"path": "/tmp/b"}, True),
        ({"path": "/home/*"}, False),
        ({"by": "*"}, False),
        ({"rule": "a.py:*"}, True),
        ({"since": moment("1h", NOW)}, True),
        ({"since": moment("10m", NOW)}, False),
        ({"until": moment("10m", NOW)}, True),
        ({"until": moment("2026-10-05T11:00+00:00")}, False),
        ({"event": "workload.*"}, False),
    ],
)
def test_fits(asked, fits):
    """All of what is given."""
    assert Selection(**asked).fits(EVENT) is fits


@pytest.mark.parametrize(
    ("by", "fits"),
    [("root", True), ("root by ctl", True), ("root*", True), ("ctl", False), ("roo", False)],
)
def test_by_whom(by, fits):
    """A person is found by the name, whatever they answered with."""
    event = {"event": "approval.answered", "by": "root by ctl"}
    assert Selection(by=by).fits(event) is fits


@pytest.mark.parametrize("text", ["", "1", "h", "1y", "-1h", "yesterday", "2026-13-01"])
def test_no_time(text):
    """It is told what would be one."""
    with pytest.raises(UsageError, match="30m, 12h or 7d"):
        moment(text)


@given(st.integers(0, 999_999))
def test_so_long_ago(seconds):
    """Seconds before now, in the form of events, whose order as text is that in time."""
    assert datetime.fromisoformat(moment(f"{seconds}s", NOW)) == NOW - timedelta(seconds=seconds)


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.integers() | st.none(), st.lists)))
def test_any_shape(event):
    """An event that was tampered with fits or not; nothing is raised."""
    Selection(since="2", path="*", by="*").fits(event)
    Selection(path="*").fits({**event, "args": event})
