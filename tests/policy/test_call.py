"""Calls: what every one has, when it counts as looked at, and when it is over."""

import pytest

from notifyd import Connect, Open, Raw
from notifyd.errors import StaleCall, TargetFault
from notifyd.testing import FakeProcess, FakeTarget, call_from_registers, make_call


def test_what_every_call_has():
    """Names, registers, and whose it is."""
    call = make_call(
        Open, syscall="openat", arch="aarch64", path="/x", workload="web", process=FakeProcess(7)
    )
    assert (call.operation, call.syscall, call.arch) == ("Open", "openat", "aarch64")
    assert (call.workload, call.process.pid, call.word_size) == ("web", 7, 8)
    assert len(call.args) == 6
    assert make_call(Open, arch="i386").word_size == 4


@pytest.mark.parametrize(
    "look",
    [
        lambda call: call.read(0x1000, 1),
        lambda call: call.read_string(0x1000),
        lambda call: call.read_strings(0x1008, 1, 1),
        lambda call: call.resolve(-100, b"x", True),
    ],
)
def test_looking_is_remembered(look):
    """Also a look that fails: what the rule decides may come from the failure."""
    target = FakeTarget({0x1000: b"x\0" + bytes(14)})
    call = call_from_registers(Raw("sysinfo"), "sysinfo", target=target)
    assert not call.looked
    look(call)
    assert call.looked
    failing = call_from_registers(Raw("sysinfo"), "sysinfo")
    with pytest.raises(TargetFault):
        failing.read(0x1000, 1)
    assert failing.looked


def test_an_event_is_no_look():
    """What is written down afterwards does not change what Allow means."""
    call = make_call(Open, path="/etc/passwd", flags=1)
    assert call.describe()["pathname"] == "/etc/passwd"
    assert not call.looked


def test_an_event_says_what_cannot_be_read():
    """In place of the value; the others are there."""
    shown = make_call(Open, flags=1).describe()
    assert shown["pathname"] == "(unreadable)"
    assert shown["flags"] == "O_WRONLY"


def test_an_answered_call_shows_nothing_new():
    """Whoever keeps it gets an error, since nothing more is true of it."""
    call = make_call(Connect, address="192.0.2.1:1")
    assert call.fd == -1
    call.close()
    assert (call.fd, call.syscall) == (-1, "connect")
    for look in (
        lambda: call.address,
        lambda: call.process,
        lambda: call.workload,
        lambda: call.target,
    ):
        with pytest.raises(StaleCall):
            look()


def test_it_reads_well():
    """The values that were seen, and nothing that would have to be looked at."""
    call = make_call(Open, path="/x", flags=1)
    shown = repr(call)
    assert shown.startswith("Open(")
    assert "pathname" not in shown
    assert call.flags == 1
    assert "flags=1" in repr(call)


def test_raw_calls_are_registers():
    """Six of them, unsigned."""
    call = call_from_registers(Raw("sysinfo"), "sysinfo", 1, -1, arch="x86_64")
    assert (call.arg0, call.arg1, call.arg5) == (1, 2**64 - 1, 0)
    assert call.describe() == {
        "registers": " ".join(["0000000000000001", "f" * 16, *["0" * 16] * 4])
    }
    assert repr(Raw("a", "b")) == "Raw('a', 'b')"
