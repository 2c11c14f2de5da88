"""A daemon of notifyd's own pieces, for systemd to start: sockets, messages and the watchdog.

Its control socket takes one word a connection: `hang` stops the loop, `sick` says that something
that must run does not, all else is answered with who was reached and over what.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import trio

from notifyd.listen.sockets import SocketAt, Sockets
from notifyd.service.activation import TYPES, take_activated
from notifyd.service.sd_notify import Manager


class Daemon:
    """What is open, and whether all is well."""

    def __init__(self, sockets: Sockets, manager: Manager, given: frozenset[str]) -> None:
        self.sockets = sockets
        self.manager = manager
        self.given = given
        self.well = True
        self.reloads = 0

    async def serve(self, name: str) -> None:
        """Answer connections, one after another."""
        listener = trio.socket.from_stdlib_socket(self.sockets[name])
        while True:
            client, _ = await listener.accept()
            with client:
                word = (await client.recv(100)).decode().strip()
                if word == "hang":
                    time.sleep(1000)  # the loop does not come round any more
                self.well = self.well and word != "sick"
                how = "given" if name in self.given else "made"
                said = f"{name} {how} pid={os.getpid()} reloads={self.reloads}\n"
                await client.send(said.encode())

    async def heed(self, scope: trio.CancelScope) -> None:
        """Reload on SIGHUP, end on SIGTERM."""
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM) as arriving:
            self.manager.ready()
            async for number in arriving:
                if number == signal.SIGTERM:
                    self.manager.stopping()
                    scope.cancel()
                    return
                self.manager.reloading()
                self.reloads += 1
                self.manager.status(f"reloaded {self.reloads} times")
                self.manager.ready()


async def main(daemon: Daemon) -> None:
    """Run until somebody says to end."""
    async with trio.open_nursery() as nursery:
        for name in daemon.sockets:
            nursery.start_soon(daemon.serve, name)
        nursery.start_soon(daemon.manager.watch, lambda: daemon.well)
        nursery.start_soon(daemon.heed, nursery.cancel_scope)


if __name__ == "__main__":
    activated = take_activated(os.environ)
    print(*activated.refused, sep="\n", file=sys.stderr)
    modes = {"native": 0o660}
    wanted = {
        name: SocketAt(f"/run/notifyd/{name}.sock", kind, modes.get(name, 0o600))
        for name, kind in TYPES.items()
    }
    with (
        Manager(os.environ) as manager,
        Sockets(wanted, activated.sockets) as sockets,
    ):
        trio.run(main, Daemon(sockets, manager, frozenset(activated.sockets)))
