"""Where the console listens: `127.0.0.1:8470`, `[::1]:8470`, `unix:/run/notifyd/web.sock`."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from notifyd.errors import UsageError
from notifyd.intake.sockets import ListeningSockets, SocketAt

__all__ = ["ListenAddress", "listening"]

CONSOLE_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A place to listen at.

    Attributes:
        path: of a unix socket; "" for none.
        host: an address without brackets.
        port: 0 for any that is free.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, *, insecure: bool = False) -> ListenAddress:
        """Read what a person wrote.

        Raises:
            UsageError: it is no place, or others can reach it and `insecure` does not allow that.
        """
        if text.startswith("unix:"):
            return cls(path=os.path.abspath(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
            found = cls(host=str(address), port=int(port))
        except ValueError:
            found = None
        if found is None or not colon or not 0 <= found.port < 1 << 16:
            raise UsageError(f"--listen {text!r}: write it as 127.0.0.1:8470 or unix:/a/path")
        if not found.is_loopback and not insecure:
            raise UsageError(
                f"--listen {text}: others on the network could read and forge all of it: listen on "
                "127.0.0.1 and forward that (ssh -L), or say --insecure-listen"
            )
        return found

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback

    def page(self, port: int) -> str:
        """The address of the page; of a unix socket, as it is after forwarding it to a port."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return f"http://{host}:{port}/" if port else f"http://{host}/"

    def url(self, port: int, token: str) -> str:
        """The address that logs in. What follows `#` is not sent, logged or passed on."""
        return f"{self.page(port)}#token={token}"


@contextmanager
def listening(at: ListenAddress) -> Iterator[socket.socket]:
    """A listening socket; closed, and its name removed, in the end.

    Raises:
        UsageError: it cannot be had.
    """
    if at.path:
        with ListeningSockets({"web": SocketAt(at.path, mode=0o600)}) as sockets:
            yield sockets["web"]
        return
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((at.host, at.port))
            found.listen(CONSOLE_BACKLOG)
        except OSError as error:
            raise UsageError(
                f"--listen {at.host}:{at.port}: {error.strerror}: choose another port"
            ) from error
        found.setblocking(False)
        yield found
