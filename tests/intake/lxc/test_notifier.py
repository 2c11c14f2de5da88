"""The connection as a notifier, with no loop around it."""

import contextlib
import errno
import os
import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.intake.lxc_notifier import LxcConnection, LxcNotifier
from notifyd.intake.lxc_wire import MESSAGE_HEADER
from notifyd.kernel import unix
from notifyd.kernel.unotify import NOTIF, RESPONSE


def test_a_late_answer_is_never_sent(pair, clock):
    """It is checked at the moment of sending, whoever slept before."""
    _child, monitor, notifier, told = pair(within=50.0)
    note = notifier.receive()
    assert notifier.id_valid(note[0])
    clock.ahead = 51.0
    assert not notifier.respond(note[0], 7, 0, 0)
    assert monitor.socket.recv(4096) == b""
    assert notifier.poll(0)[0][1] == select.POLLHUP
    assert len(told) == 1
    assert "no answer within" in told[0]


def test_no_descriptor_after_the_limit(pair, clock):
    """None is put into a target that will never know of it."""
    child, _monitor, notifier, _told = pair(within=50.0)
    note = notifier.receive()
    clock.ahead = 51.0
    before = len(os.listdir(f"/proc/{child.pid}/fd"))
    with pytest.raises(FileNotFoundError):
        notifier.give_fd(note[0], os.dup(0), os.O_CLOEXEC)
    assert len(os.listdir(f"/proc/{child.pid}/fd")) == before


def test_lxc_was_quicker(pair):
    """An id that is not valid any more gets no answer that LXC could take for another's."""
    _child, monitor, notifier, _told = pair()
    note = notifier.receive()
    monitor.notifier.respond(note[0], 0, -errno.ENOSYS, 0)
    assert not notifier.id_valid(note[0])
    assert not notifier.respond(note[0], 7, 0, 0)
    assert monitor.socket.recv(4096) == b""


def test_once_closed_everybody_is_gone(pair):
    """As `Notifier`; what was pending is let go of."""
    _child, _monitor, notifier, told = pair()
    note = notifier.receive()
    notifier.close()
    assert not notifier.respond(note[0], 7, 0, 0)
    assert not notifier.id_valid(note[0])
    with pytest.raises(FileNotFoundError):
        notifier.give_fd(note[0], os.dup(0), 0)
    notifier.expire()
    notifier.close()
    assert told == ["closed"]


def test_numbers_that_do_not_fit(pair):
    """They answer nothing: the call can still be refused."""
    _child, monitor, notifier, _told = pair()
    note = notifier.receive()
    with pytest.raises(struct.error):
        notifier.respond(note[0], 2**70, 0, 0)
    assert notifier.respond(note[0], 0, -errno.EPERM, 0)
    assert RESPONSE.unpack(monitor.socket.recv(4096)[112:])[2] == -errno.EPERM


def test_a_thread_of_somebody_else(pair):
    """A peer may have to do with its own processes only."""
    _child, _monitor, notifier, told = pair(may_ask=lambda tid: False)
    with pytest.raises(FileNotFoundError):
        notifier.receive()
    assert notifier.poll(0)[0][1] == select.POLLHUP
    assert "which is not the peer's" in told[0]


GOOD = (
    MESSAGE_HEADER.pack(0, 7, 8, 80, 24, 64, 4)
    + NOTIF.pack(1, 9, 0, 110, 0, 0, *range(6))
    + RESPONSE.pack(1, 0, 0, 0)
    + b"text"
)


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(GOOD) + 9),
    st.lists(st.integers(0, 2), max_size=6),
)
def test_whatever_is_sent(changes, length, picks):
    """Nothing but an end comes of it, and every descriptor is closed."""
    packet = bytearray(GOOD)
    for place, value in changes:
        packet[place] = value
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open("/proc/self/status") as file:
        told = []
        link = LxcConnection(9.0, told.append, lambda: told.append("closed"), lambda _tid: True)
        notifier = LxcNotifier(os.dup(ours.fileno()), (7, 8, "text"), link)
        fds = [(file, ours, theirs)[pick].fileno() for pick in picks]
        unix.send_fds(theirs, bytes(packet).ljust(length, b"!")[:length] or b"!", fds)
        number = notifier._fd
        with contextlib.closing(notifier), pytest.raises(FileNotFoundError):
            notifier.receive()
        os.close(number)
        assert told[1:] == ["closed"]
        assert told[0].isprintable()
    assert len(os.listdir("/proc/self/fd")) == before
