"""Copying what a SendTo sends: pieces, destination, and descriptors on their way to somebody else.

A message is copied once, before anything is sent, and sent from the copy. Sizes are bounded here:
a stream takes what is left over with the target's next call.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from struct import Struct

from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import pidfd
from notifyd.kernel.socket import NOSIGNAL, sends_uncopied
from notifyd.kernel.structs import CMSGHDR
from notifyd.perform.sender import Sender
from notifyd.policy.address import MAX_ADDRESS
from notifyd.policy.operations import SendTo
from notifyd.policy.operations.sending import MessageHeader

MAX_SENT = 1 << 20  # bytes of one message
MAX_PIECES = 1024  # UIO_MAXIOV
MAX_CONTROL = 1 << 17  # bytes; net.core.optmem_max, the kernel's own limit, is at most as large
MAX_DESCRIPTORS = 253  # SCM_MAX_FD
ZEROCOPY = 0x4000000  # MSG_ZEROCOPY
CMSG_COMPAT = 0x80000000  # MSG_CMSG_COMPAT

# Control data that is passed on as it is, by level and type: numbers and addresses that choose how
# a packet is sent, not where it goes, and mean the same to whoever sends it. No routes, no ids.
PLAIN = frozenset(
    {
        (socket.SOL_IP, 1),  # IP_TOS; these three are in ip(7)
        (socket.SOL_IP, 2),  # IP_TTL
        (socket.SOL_IP, 8),  # IP_PKTINFO: the source, and the interface
        (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),  # RFC 3542
        (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
        (socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG),
        (socket.IPPROTO_UDP, 103),  # UDP_SEGMENT: udp(7)
    }
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message, copied.

    Attributes:
        pieces: its bytes.
        address: its destination as the rule saw it; None for the socket's own peer.
        control: its control data, where descriptors are ours.
    """

    pieces: list[bytes]
    address: bytes | None
    control: bytes = b""


def copy_messages(
    call: SendTo, task: int, sender: Sender | None, stack: ExitStack, *, whole: bool
) -> list[Message]:
    """Copy every message of a call.

    Args:
        call: whose `addresses` are what the rule saw.
        task: a pidfd of the target, to take descriptors from.
        sender: the target, as far as a message may say who sends it; None without control data.
        stack: becomes the owner of the descriptors that are taken.
        whole: whether a message is sent whole or not at all: the socket is no stream.

    Raises:
        CannotPerform: control data of a kind that only the target could send.
        TargetFault: a pointer that cannot be read, or EMSGSIZE: a message that is too long.
    """
    addresses = [one.raw if one is not None else None for one in call.addresses]
    if not call.headers:
        if addresses[:1] != [None]:
            _check_length(call.addrlen)
        size = _at_most(call.size, whole)
        data = call.read(call.data_address, size) if size else b""
        return [Message([data], addresses[0] if addresses else None)]
    messages: list[Message] = []
    size = 0
    for header, address in zip(call.headers, addresses, strict=False):
        try:
            if header.name:
                _check_length(header.length)
            pieces = _pieces(call, header, whole)
            control = _control(call, header, task, sender, stack)
        except TargetFault:
            if not messages:
                raise
            break  # sendmmsg(2) sends those before the one that is wrong
        messages.append(Message(pieces, address, control))
        size += sum(map(len, pieces))
        if size >= MAX_SENT:
            break  # sendmmsg(2) may send fewer than it was given
    return messages


def _check_length(size: int) -> None:
    if size > MAX_ADDRESS:
        raise TargetFault("no address is that long", errno.EINVAL)


def _at_most(size: int, whole: bool) -> int:
    """How much of a message is sent with this call."""
    if whole and size > MAX_SENT:
        raise TargetFault("a message that is too long", errno.EMSGSIZE)
    return min(size, MAX_SENT)


def _pieces(call: SendTo, header: MessageHeader, whole: bool) -> list[bytes]:
    if header.iovlen > MAX_PIECES:
        raise TargetFault(f"{header.iovlen} pieces", errno.EMSGSIZE)
    word = call.word_size
    vector = call.read(header.iov, 2 * word * header.iovlen) if header.iovlen else b""
    words = [int.from_bytes(vector[at : at + word], "little") for at in range(0, len(vector), word)]
    if any(size >> (8 * word - 1) for size in words[1::2]):
        raise TargetFault("a piece of a negative size", errno.EINVAL)
    left, pieces = _at_most(sum(words[1::2]), whole), []
    for base, size in zip(words[::2], words[1::2], strict=True):
        taken = min(size, left)
        pieces.append(call.read(base, taken) if taken else b"")
        left -= taken
    return pieces


def has_rights(control: bytes) -> bool:
    """Whether copied control data carries descriptors, or says who sends it."""
    at = 0
    while at + CMSGHDR.size <= len(control):
        length, level, _ = CMSGHDR.unpack_from(control, at)
        if level == socket.SOL_SOCKET:
            return True
        at += length + -length % 8
    return False


def message_flags(call: SendTo, own: int) -> int:
    """The flags to send with: the kernel must not go on reading our memory afterwards."""
    if call.flags & ZEROCOPY and sends_uncopied(own):
        raise TargetFault("MSG_ZEROCOPY: what is sent is a copy", errno.ENOBUFS)
    flags = (call.flags | NOSIGNAL) & ~ZEROCOPY
    # A bit that sendmsg(2) refuses alone: sendto(2) and 32-bit entries forget it.
    whole = call.syscall in ("sendmsg", "sendmmsg") and call.word_size == 8
    return flags if whole else flags & ~CMSG_COMPAT


def _control(
    call: SendTo, header: MessageHeader, task: int, sender: Sender | None, stack: ExitStack
) -> bytes:
    """The control data with the target's descriptors replaced by copies of ours."""
    if not header.controllen:
        return b""
    assert sender is not None
    if header.controllen > MAX_CONTROL:
        raise TargetFault("more control data than the kernel has room for", errno.ENOBUFS)
    if call.word_size != 8:
        raise CannotPerform("control data of a 32-bit program")
    data = call.read(header.control, header.controllen)
    built, at = b"", 0
    while at + CMSGHDR.size <= len(data):
        length, level, kind = CMSGHDR.unpack_from(data, at)
        body = data[at + CMSGHDR.size : at + length]
        # What reaches beyond the end would get there what the target did not send: zeros, and so
        # our own descriptor 0.
        if not CMSGHDR.size <= length <= len(data) - at:
            raise TargetFault("control data that is too short, or reaches too far", errno.EINVAL)
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            body = _taken(body, task, stack)
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            body = sender.says(body)
        elif (level, kind) not in PLAIN:
            raise CannotPerform(f"control data of level {level}, type {kind}")
        built += CMSGHDR.pack(CMSGHDR.size + len(body), level, kind) + body
        built += bytes(-len(built) % 8)
        at += length + -length % 8
    return built


def _taken(body: bytes, task: int, stack: ExitStack) -> bytes:
    numbers = Struct(f"={len(body) // 4}i").unpack(body[: len(body) // 4 * 4])
    if len(numbers) > MAX_DESCRIPTORS:
        raise CannotPerform(f"{len(numbers)} descriptors; the kernel takes {MAX_DESCRIPTORS}")
    ours = []
    for number in numbers:
        try:
            ours.append(pidfd.get_fd(task, number))
        except OSError as error:
            raise TargetFault(str(error), error.errno or errno.EIO) from error
        stack.callback(os.close, ours[-1])
    return Struct(f"={len(ours)}i").pack(*ours)
