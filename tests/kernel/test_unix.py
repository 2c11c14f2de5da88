"""Descriptors over sockets. The fixture no_fd_left sees to the leaks."""

import fcntl
import os
import socket
import time

import pytest

from notifyd.kernel import unix


@pytest.fixture(params=[socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def pair(request):
    """A connected pair of each kind of socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, request.param)
    with ours, theirs:
        yield ours, theirs


def close_all(fds):
    """Close what a test received."""
    for fd in fds:
        os.close(fd)


def test_there_and_owned(pair):
    """What is sent arrives as the same open file, close-on-exec, in order."""
    ours, theirs = pair
    assert unix.send_fds(theirs, b"two", [ours.fileno(), theirs.fileno()]) == 3
    data, fds, truncated = unix.recv_fds(ours, 100, 4)
    try:
        assert (data, truncated) == (b"two", False)
        assert [os.fstat(fd).st_ino for fd in fds] == [
            os.fstat(sock.fileno()).st_ino for sock in (ours, theirs)
        ]
        assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in fds)
    finally:
        close_all(fds)


def test_by_number(pair):
    """A socket may be given by its number, and stays open."""
    ours, theirs = pair
    unix.send_fds(theirs.fileno(), b"x", [0])
    data, fds, _ = unix.recv_fds(ours, 1, 1)
    close_all(fds)
    assert (data, len(fds)) == (b"x", 1)
    assert theirs.fileno() >= 0
    os.fstat(theirs.fileno())


def test_none_sent(pair):
    """Bytes alone come with no descriptors."""
    ours, theirs = pair
    unix.send_fds(theirs, b"plain", [])
    assert unix.recv_fds(ours, 100, 1) == (b"plain", [], False)


@pytest.mark.parametrize("allowed", [0, 1, 2, 3])
def test_too_many(pair, allowed):
    """More descriptors than allowed: none is left open, and it is said."""
    ours, theirs = pair
    unix.send_fds(theirs, b"x", [0] * (allowed + 1))
    assert unix.recv_fds(ours, 1, allowed) == (b"x", [], True)


@pytest.mark.parametrize("allowed", [1, 2, 253])
def test_exactly_as_many(pair, allowed):
    """Just as many as allowed all arrive."""
    ours, theirs = pair
    unix.send_fds(theirs, b"x", [0] * allowed)
    _, fds, truncated = unix.recv_fds(ours, 1, allowed)
    close_all(fds)
    assert (len(fds), truncated) == (allowed, False)


def test_packet_cut_off():
    """A packet longer than the buffer counts as cut off, and its descriptors are closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        unix.send_fds(theirs, b"long", [0])
        assert unix.recv_fds(ours, 2, 1) == (b"lo", [], True)


def test_pidfd_that_nobody_asked_for():
    """A descriptor that comes in another message than SCM_RIGHTS is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, 76, 1)  # SO_PASSPIDFD, since 6.5
        unix.send_fds(theirs, b"x", [])
        assert unix.recv_fds(ours, 1, 8) == (b"x", [], False)


def test_hung_up(pair):
    """A peer that closed shows as no bytes, and cannot be sent to; no SIGPIPE comes."""
    ours, theirs = pair
    if ours.type == socket.SOCK_DGRAM:
        ours.setblocking(False)
    theirs.close()
    with pytest.raises((BrokenPipeError, ConnectionError)):
        unix.send_fds(ours, b"x", [0])
    if ours.type != socket.SOCK_DGRAM:
        assert unix.recv_fds(ours, 1, 1) == (b"", [], False)


def test_without_bytes(pair):
    """Descriptors without a byte would be lost, so they are refused before."""
    with pytest.raises(ValueError, match="at least one byte"):
        unix.send_fds(pair[0], b"", [0])


def test_bad_descriptor(pair):
    """A number that is no descriptor is EBADF and nothing is sent."""
    ours, theirs = pair
    with pytest.raises(OSError):
        unix.send_fds(theirs, b"x", [0, 999])
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        unix.recv_fds(ours, 1, 1)


def test_peer(pair):
    """The peer's credentials are those of who made the pair."""
    expected = (os.getpid(), os.getuid(), os.getgid())
    if pair[0].type != socket.SOCK_DGRAM:
        assert unix.peer_cred(pair[0]) == expected
        assert unix.peer_groups(pair[0]) == tuple(os.getgroups())


def test_a_packet_and_when_it_came():
    """The kernel's stamp is of the arrival, however long the packet lies there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        unix.stamp_packets(ours)
        before = time.time()
        unix.send_fds(theirs, b"packet", [0, 1])
        after = time.time()
        time.sleep(0.05)
        packet = unix.recv_packet(ours, 100, 2)
        close_all(packet.fds)
        assert (packet.data, len(packet.fds), packet.cut) == (b"packet", 2, False)
        assert before - 0.01 <= packet.arrived <= after + 0.01


def test_a_packet_is_not_waited_for():
    """EAGAIN; no bytes at the end; and nothing is kept of what was cut."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            unix.recv_packet(ours, 100, 2)
        unix.stamp_packets(ours)
        unix.send_fds(theirs, b"packet", [0, 1, 2])
        assert unix.recv_packet(ours, 100, 2)[1:3] == ([], True)
        unix.send_fds(theirs, b"packet", [])
        assert unix.recv_packet(ours, 3, 2)[:3] == (b"pac", [], True)
        theirs.close()
        assert unix.recv_packet(ours, 3, 2) == (b"", [], False, None)
