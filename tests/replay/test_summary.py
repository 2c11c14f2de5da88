"""The summary is of one size, whatever the record holds."""

from recording import record_of

from notifyd import GetRandom, Open
from notifyd.policy.load import load
from notifyd.replay import summary as module
from notifyd.replay.compare import ReplayedCall, ReplayStatus
from notifyd.replay.event import event_of
from notifyd.replay.summary import OTHERS, Summary
from notifyd.testing import make_call


def events(count):
    """Calls that returned something else each."""
    call = make_call(GetRandom, size=8)
    return [event_of(record_of(call, "return", value=at)) for at in range(count)]


def test_rows_are_limited(monkeypatch):
    """A program that gets another number each time fills no memory; all its calls are counted."""
    monkeypatch.setattr(module, "MAX_SUMMARY_ROWS", 10)
    found = Summary(load(["audit-exec"]))
    for event in events(100):
        found.add(event, ReplayedCall(ReplayStatus.CHANGE, f"return {event.value}", "allow"))
        found.add(event, ReplayedCall(ReplayStatus.UNTOLD, f"return {event.value}", "path"))
    assert len(found.rows) == 12
    assert sum(row.count for row in found.rows.values()) == found.calls == 200
    others = [row for row in found.rows.values() if row.operation == OTHERS]
    assert [(row.kind, row.count) for row in others] == [
        (ReplayStatus.CHANGE, 95),
        (ReplayStatus.UNTOLD, 95),
    ]


def test_names_of_rules_are_limited(monkeypatch):
    """They come from the record, too."""
    monkeypatch.setattr(module, "MAX_SUMMARY_ROWS", 10)
    found = Summary(load(["audit-exec"]))
    for at in range(100):
        line = f'{{"event":"rules.loaded","rules":["a{at}"],"kernel":["Open"]}}'
        found.note(event_of(line.encode()))
    assert list(found.recorded_rules) == [f"a{at}" for at in range(10)]
    assert list(found.kernel) == ["Open"]


def test_what_was_never_called_is_told_by_operation():
    """By all system calls that mean the same; a bare one by its own name."""
    found = Summary(load(["connect-allowlist"]))
    unseen = found.unseen()
    assert unseen == sorted(unseen)
    assert {"Connect", "IoUring", "SendTo", "Socket", "pidfd_getfd"} <= set(unseen)
    call = make_call(Open, path="/x", syscall="openat")
    data = record_of(call).replace(b'"openat"', b'"sendmsg"')
    found.add(event_of(data), ReplayedCall(ReplayStatus.SAME, "allow", "allow"))
    assert found.unseen() == [one for one in unseen if one != "SendTo"]
