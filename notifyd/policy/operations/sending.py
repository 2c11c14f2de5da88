"""Sending to an address: `SendTo`, which reads the headers of messages but not what they carry."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from notifyd.errors import TargetFault
from notifyd.kernel.structs import MMSGHDR_BYTES, MSGHDR
from notifyd.policy.address import MAX_ADDRESS, copy_address
from notifyd.policy.bound import BoundCall, Variant
from notifyd.policy.fields import Address, Fd, Field, Flags, Int
from notifyd.policy.names.socket import MESSAGE_FLAGS
from notifyd.policy.operations.layouts import shorten
from notifyd.policy.operations.reading import Watching
from notifyd.policy.sources import Const, call, socketcall

if TYPE_CHECKING:
    from notifyd.kernel.socket import SockAddr

__all__ = ["MessageHeader", "SendTo"]

MAX_MESSAGES = 64  # of one sendmmsg(2), which may send fewer than it was given: all others wait
_SOMEWHERE = (1 << 64) - 1  # a destination of which registers do not say whether it is given


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """A copied `struct msghdr`: where a message is, not what it says.

    Attributes:
        name: address of the destination, 0 for none.
        namelen: its size in bytes.
        iov: address of the vector of pieces.
        iovlen: how many there are.
        control: address of the ancillary data, which may carry descriptors.
        controllen: its size in bytes.
        flags: unused when sending.
    """

    name: int
    namelen: int
    iov: int
    iovlen: int
    control: int
    controllen: int
    flags: int

    @property
    def length(self) -> int:
        """How much of the destination counts: sendmsg(2) cuts it; a negative one it refuses."""
        return self.namelen if self.namelen >> 31 else min(self.namelen, MAX_ADDRESS)


class Headers(Field[tuple[MessageHeader, ...]]):
    """The headers of sendmsg and sendmmsg, all read in one piece; none for the others."""

    memory = True
    kind = "message headers"
    width = 64

    def decode(self, call: BoundCall, raw: int) -> tuple[MessageHeader, ...]:
        values: Any = call
        word = call.word_size
        header = MSGHDR[word]
        if "count" in call.variant.sources:
            count = min(values.count, MAX_MESSAGES)
            data = _as_many(call, raw, MMSGHDR_BYTES[word], count)
            return tuple(
                MessageHeader(*header.unpack_from(data, at))
                for at in range(0, len(data), MMSGHDR_BYTES[word])
            )
        if self.name in call.variant.sources:
            return (MessageHeader(*header.unpack(call.read_field(raw, header.size))),)
        return ()

    def render(self, call: BoundCall) -> Any:
        return len(self.__get__(call, type(call)))


def _as_many(call: BoundCall, address: int, stride: int, count: int) -> bytes:
    """Up to `count` items in memory: those before one that cannot be read, if it is no first."""
    with suppress(TargetFault):
        return call.read_field(address, stride * count) if count else b""
    found = call.read_field(address, stride)
    with suppress(TargetFault):
        while len(found) < stride * count:
            found += call.read_field(address + len(found), stride)
    return found


class Destinations(Field["tuple[SockAddr | None, ...]"]):
    """Where each message of the call goes; None for one to the socket's own peer."""

    memory = True
    kind = "socket addresses"
    width = 64

    def decode(self, call: BoundCall, raw: int) -> tuple[SockAddr | None, ...]:
        values: Any = call
        if "headers" not in call.variant.sources:
            return (_address(call, raw, values.addrlen),)
        found: list[SockAddr | None] = []
        try:
            for one in values.headers:
                found += [_address(call, one.name, one.length)]
        except TargetFault:
            if not found:
                raise  # sendmmsg(2) sends those before the one that is wrong
        return tuple(found)

    def render(self, call: BoundCall) -> Any:
        found = self.__get__(call, type(call))
        return shorten([None if one is None else str(one) for one in found])


def _address(call: BoundCall, pointer: int, size: int) -> SockAddr | None:
    return copy_address(call, pointer, size) if pointer and size else None


def _pointed_at(variant: Variant) -> Variant:
    """The pointer to the address is an argument of its own."""
    sources = {**variant.sources, "destination": variant.sources["addresses"]}
    return replace(variant, sources=sources)


def _without_address(variant: Variant) -> Variant:
    """A call that can give none, whatever lies in memory."""
    return replace(variant, sources={**variant.sources, "destination": Const(0)})


def _with_headers(variant: Variant) -> Variant:
    """The headers are behind the pointer that i386's socketcall keeps in memory."""
    sources = {**variant.sources, "headers": variant.sources["message"]}
    return replace(variant, sources=sources)


class SendTo(Watching):
    """Send messages: sendto(2), sendmsg(2), sendmmsg(2), and i386's send.

    One that guards `Connect` guards this too: UDP needs no connect, and MSG_FASTOPEN opens a TCP
    connection. write(2) and writev(2) go to the socket's own peer only, as does a call here that
    gives no address. sendmsg may carry descriptors (`SCM_RIGHTS`) over an AF_UNIX socket.

    Where a rule is about destinations alone, `always(Allow(), SendTo, destination=0)` leaves the
    C library's send() to the kernel: sendto with a null pointer for the address.
    """

    __slots__ = ()
    theme = "sockets"

    fd = Fd("the socket")
    data_address = Address("sendto: what is sent")
    size = Int("sendto: how many bytes", width=64)
    flags = Flags(MESSAGE_FLAGS, "`MSG_*`")
    addresses = Destinations("where each message goes; None for the socket's own peer")
    destination = Address(
        "sendto: the pointer to the address, 0 if none is given; never 0 for sendmsg and sendmmsg",
        default=_SOMEWHERE,
    )
    addrlen = Int("sendto: bytes of the address")
    message = Address("sendmsg, sendmmsg: the header, or the first of them")
    headers = Headers("sendmsg, sendmmsg: the copied headers")
    count = Int("sendmmsg: how many messages; 64 are looked at, and no more are sent")

    variants = (
        _pointed_at(call("sendto", fd=0, data_address=1, size=2, flags=3, addresses=4, addrlen=5)),
        call("sendmsg", fd=0, message=1, headers=1, flags=2),
        call("sendmmsg", fd=0, message=1, headers=1, count=2, flags=3),
        _without_address(socketcall(9, "fd", "data_address", "size", "flags")),
        _pointed_at(socketcall(11, "fd", "data_address", "size", "flags", "addresses", "addrlen")),
        _with_headers(socketcall(16, "fd", "message", "flags")),
        _with_headers(socketcall(20, "fd", "message", "count", "flags")),
    )

    @property
    def address(self) -> SockAddr | None:
        """Where it goes; None for the socket's own peer.

        Raises:
            ValueError: sendmmsg with messages to different places: look at `addresses`.
        """
        first, *others = self.addresses or (None,)
        if any(other != first for other in others):
            raise ValueError("sendmmsg with several destinations: look at call.addresses")
        return first

    @property
    def is_several(self) -> bool:
        """Whether it is sendmmsg, which sends any number of messages."""
        return "count" in self.variant.sources

    @property
    def carries_control(self) -> bool:
        """Whether there is ancillary data, such as descriptors."""
        # By the length alone, as sendmsg(2) has it: an address of 0 is EFAULT then.
        return any(header.controllen for header in self.headers)
