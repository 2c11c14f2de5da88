"""unix(7): descriptors over a socket, none of which is ever lost.

Owns packing and unpacking SCM_RIGHTS. Received descriptors belong to the caller from the moment a
function here returns; when one raises, they are closed.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import sys
from socket import CMSG_LEN
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from notifyd.kernel import socket as raw
from notifyd.kernel.structs import CMSGHDR, UCRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "SCM_MAX_FD",
    "Packet",
    "close_all",
    "peer_cred",
    "peer_groups",
    "peer_pidfd",
    "post_fds",
    "recv_fds",
    "recv_fds_into",
    "recv_packet",
    "send_fds",
    "stamp_packets",
]

SCM_MAX_FD = 253  # SCM_MAX_FD: what one message can carry

_FD = array.array("i").itemsize
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_CTRUNC | socket.MSG_TRUNC)
_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS_OLD and SCM_TIMESTAMPNS: socket(7)
_TIMESPEC = Struct("@ll")  # seconds and nanoseconds since 1970
_PEERPIDFD: Final = 77  # SO_PEERPIDFD
_PEERGROUPS: Final = 59  # SO_PEERGROUPS, since 4.13
_MAX_PEER_GROUPS = 256  # what Python's getsockopt has room for
_GROUP = Struct("=I")  # gid_t
_SCM_PIDFD = 4  # since 6.5; the other message that carries a descriptor


def send_fds(sock: int | socket.socket, data: bytes, fds: Sequence[int]) -> int:
    """Send bytes with descriptors, in exactly one sendmsg(2) and no other system call.

    That is what a process may do that is already under its own filter.

    Args:
        sock: A connected AF_UNIX socket, or its number. Stays the caller's.
        data: At least one byte; the descriptors travel with the first.
        fds: At most 253. They stay the caller's; the receiver gets copies.

    Returns:
        How many bytes went. The descriptors went with the first of them, so what is left of a
        stream is sent without.

    Raises:
        OSError: EPIPE (no SIGPIPE), ECONNRESET, EAGAIN, ETOOMANYREFS, EBADF, as sendmsg(2).
    """
    if not data:
        raise ValueError("descriptors need at least one byte to travel with")
    number = sock if isinstance(sock, int) else sock.fileno()
    control = b""
    if fds:
        rights = array.array("i", fds).tobytes()
        size = CMSGHDR.size + len(rights)
        control = CMSGHDR.pack(size, socket.SOL_SOCKET, socket.SCM_RIGHTS) + rights
        control += bytes(-len(control) % 8)
    return raw.sendmsg(number, [data], socket.MSG_NOSIGNAL, None, control)


def post_fds(sock: socket.socket, data: bytes, fd: int) -> None:
    """Send bytes with one descriptor by Python's own sendmsg: half the price of `send_fds`.

    Raises:
        OSError: As `send_fds`.
    """
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
    sock.sendmsg((data,), (rights,), socket.MSG_NOSIGNAL)


def recv_fds(sock: socket.socket, size: int, max_fds: int) -> tuple[bytes, list[int], bool]:
    """Receive bytes and the descriptors that came with them.

    Args:
        sock: An AF_UNIX socket; waits if it does.
        size: How many bytes at most.
        max_fds: How many descriptors the caller is ready to own.

    Returns:
        The bytes (none: the peer closed), the descriptors (close-on-exec, the caller's), and
        whether the kernel cut something off: data of a packet, or descriptors. Then it is unknown
        which are missing; the caller still has to close those that did arrive.

    Raises:
        OSError: As recvmsg(2). EMFILE does not exist here: a full table shows as cut off.
    """
    # CMSG_LEN and not CMSG_SPACE: the padding would have room for one more than asked.
    room = socket.CMSG_LEN(max_fds * _FD)
    data, messages, flags, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds, foreign = _descriptors(messages)
    close_all(foreign)
    return data, fds, bool(flags & _CUT)


def recv_fds_into(
    sock: socket.socket, buffer: bytearray, max_fds: int, more: int = 0
) -> tuple[int, list[int], bool]:
    """The same with a buffer of the caller's, which is used again; how many bytes it got first.

    Args:
        sock: as for `recv_fds`.
        buffer: where the bytes go.
        max_fds: as for `recv_fds`.
        more: flags of recvmsg(2), as MSG_DONTWAIT.
    """
    room = CMSG_LEN(max_fds * _FD)
    size, messages, flags, _ = sock.recvmsg_into((buffer,), room, _CLOEXEC | more)
    if not messages and not flags & _CUT:
        return size, [], False
    fds, foreign = _descriptors(messages)
    close_all(foreign)
    if flags & _CUT:
        close_all(fds)
        return size, [], True
    return size, fds, False


class Packet(NamedTuple):
    """One packet, as `recv_packet` gives it.

    Attributes:
        data: its bytes; none: the peer closed.
        fds: the descriptors that came with it: close-on-exec, the caller's.
        cut: whether the kernel cut something off; then `fds` is empty.
        arrived: when it came, in seconds since 1970; None where the kernel does not say.
    """

    data: bytes
    fds: list[int]
    cut: bool
    arrived: float | None


def stamp_packets(sock: socket.socket) -> None:
    """Let the kernel note when each packet from now on comes: SO_TIMESTAMPNS.

    A packet that waits already is stamped when it is first looked at.
    """
    sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)


def recv_packet(sock: socket.socket, size: int, max_fds: int) -> Packet:
    """Receive one packet of a SOCK_SEQPACKET socket, without waiting.

    Args:
        sock: stays the caller's.
        size: how many bytes at most.
        max_fds: how many descriptors the caller expects. There may come a few more from a socket
            without `stamp_packets`, and they are the caller's too.

    Raises:
        OSError: EAGAIN: no message waits. ECONNRESET: the peer closed and left something unread.
    """
    room = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_LEN(max_fds * _FD)
    data, messages, flags, _ = sock.recvmsg(size, room, _CLOEXEC | socket.MSG_DONTWAIT)
    fds, foreign = _descriptors(messages)
    close_all(foreign)
    if flags & _CUT:
        close_all(fds)
        fds = []
    return Packet(data, fds, bool(flags & _CUT), _stamp(messages))


def _stamp(messages: Iterable[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in messages:
        if (level, kind, len(data)) == (socket.SOL_SOCKET, _TIMESTAMPNS, _TIMESPEC.size):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return float(seconds + nanoseconds / 1e9)
    return None


def _descriptors(messages: Iterable[tuple[int, int, bytes]]) -> tuple[list[int], list[int]]:
    """Return the descriptors of SCM_RIGHTS, and unexpected ones."""
    rights, foreign = array.array("i"), array.array("i")
    for level, kind, data in messages:
        whole = data[: len(data) - len(data) % _FD]
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(whole)
        elif (level, kind) == (socket.SOL_SOCKET, _SCM_PIDFD):
            foreign.frombytes(whole)
    return list(rights), list(foreign)


def close_all(fds: Iterable[int]) -> None:
    """Close every one of them; one that is closed already does no harm."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def peer_cred(sock: socket.socket) -> tuple[int, int, int]:
    """Return pid, uid and gid of who connected, or made the pair: SO_PEERCRED.

    They are as of that moment, seen from our namespaces. The pid is 0 if not visible here, and may
    belong to another process by now.
    """
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    pid, uid, gid = UCRED.unpack(packed)
    return pid, uid, gid


def peer_pidfd(sock: socket.socket) -> int:
    """Return a pidfd of the process that `peer_cred` names: SO_PEERPIDFD, since 6.5.

    The caller owns it. It refers to that process, even if its pid has been reused.

    Raises:
        OSError: ENOPROTOOPT: before 6.5. ESRCH, EINVAL: it has ended and was waited for.
    """
    return sock.getsockopt(socket.SOL_SOCKET, _PEERPIDFD)


def peer_groups(sock: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of who connected, as of that moment: SO_PEERGROUPS.

    Empty as well for one that has more than 256, or if no peer is known.
    """
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, _MAX_PEER_GROUPS * _GROUP.size)
    except OSError:  # ERANGE, ENODATA
        return ()
    return tuple(gid for (gid,) in _GROUP.iter_unpack(packed))
