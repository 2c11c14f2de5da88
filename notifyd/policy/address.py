"""The field of a socket's address, copied from the target and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notifyd.errors import TargetFault
from notifyd.policy.fields import Field

if TYPE_CHECKING:
    from notifyd.kernel.socket import SockAddr
    from notifyd.policy.bound import BoundCall

__all__ = ["MAX_ADDRESS", "SocketAddress", "copy_address"]

MAX_ADDRESS = 128  # sizeof(struct sockaddr_storage): the kernel refuses more with EINVAL


def copy_address(call: BoundCall, pointer: int, size: int) -> SockAddr:
    """The sockaddr of `size` bytes at `pointer`, as much of it as can count.

    The kernel refuses a length that is none before it reads; then what cannot be read is left out.
    """
    from notifyd.kernel.socket import parse_sockaddr

    try:
        return parse_sockaddr(call.read_field(pointer, min(size, MAX_ADDRESS)))
    except TargetFault:
        if size <= MAX_ADDRESS:
            raise
        return parse_sockaddr(b"")


class SocketAddress(Field["SockAddr | None"]):
    """A sockaddr of the target, copied and decoded; None where its length is 0."""

    memory = True
    kind = "socket address"
    width = 64

    def __init__(self, summary: str = "", *, length: str = "addrlen") -> None:
        super().__init__(summary)
        self.length = length

    def decode(self, call: BoundCall, raw: int) -> SockAddr | None:
        size = getattr(call, self.length)
        return copy_address(call, raw, size) if size else None

    def render(self, call: BoundCall) -> Any:
        value = self.__get__(call, type(call))
        return None if value is None else str(value)
