"""The field of a socket's address, copied from the target and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notifyd.policy.fields import Field

if TYPE_CHECKING:
    from notifyd.kernel.socket import SockAddr
    from notifyd.policy.call import Call

__all__ = ["SocketAddress"]


class SocketAddress(Field["SockAddr | None"]):
    """A sockaddr of the target, copied and decoded; None where its length is 0."""

    memory = True
    kind = "socket address"
    width = 64
    MAX = 128  # sizeof(struct sockaddr_storage): the kernel refuses more with EINVAL

    def __init__(self, summary: str = "", *, length: str = "addrlen") -> None:
        super().__init__(summary)
        self.length = length

    def decode(self, call: Call, raw: int) -> SockAddr | None:
        from notifyd.kernel.socket import parse_sockaddr

        size = getattr(call, self.length)
        if not size:
            return None
        return parse_sockaddr(call.read(raw, min(size, self.MAX)))

    def render(self, call: Call) -> Any:
        value = self.__get__(call, type(call))
        return None if value is None else str(value)
