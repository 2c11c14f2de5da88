"""A daemon in the test's own loop, with its control socket, and children that it supervises."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from notifyd.approvals.store import Store
from notifyd.daemon.control import Reload, serve_control
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.policies import Policies, load_policies
from notifyd.daemon.workload import Workload
from notifyd.events.jsonl import JsonLines
from notifyd.intake.arrival import Arrival, Peer
from notifyd.intake.native import NATIVE

PATIENCE = 60.0  # seconds for all the work of a test: some start twenty processes in turn

RULES = """
import errno
import trio
from notifyd import *

always(Deny(errno.EPERM), Ptrace)

@on(Raw("getppid"))
def parent(call):
    return Return(7)

@on(Raw("getpgrp"))
def group(call):
    return Deny(errno.EACCES, reason="no groups here")

@on(Raw("getsid"))
def breaks(call):
    raise ValueError("broken")

@on(Raw("getuid"))
async def waits(call):
    await trio.sleep_forever()
"""

ASKS = '''
"""Names are asked for."""
import errno
from notifyd import *

@on(Raw("uname"))
def name(call):
    remember = ("process", "workload")
    return Ask("may it know the name?", otherwise=Deny(errno.EACCES), remember=remember)

@on(Raw("getppid"))
def parent(call):
    return Return(7)
'''

STRANGER = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(sys.argv[2].encode() + b"\\n")
except BrokenPipeError:  # refused before it could ask
    pass
print(s.makefile().readline())
"""

CALLS = {
    b"p": os.getppid,
    b"g": os.getpgrp,
    b"s": lambda: os.getsid(0),
    b"u": os.getuid,
    b"n": os.uname,
    b"5": lambda: _at_once(5),
}


@dataclass(frozen=True)
class Done:
    """What a command said."""

    out: str
    err: str
    status: int


async def ctl(path, *words: str, **more: str) -> Done:
    """Run `notifyd ctl` in a process of its own."""
    done = await trio.run_process(
        [sys.executable, "-m", "notifyd", *(("ctl", *words) if words else ())],
        env={**os.environ, "NOTIFYD_CONTROL": str(path), **more},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return Done(done.stdout.decode(), done.stderr.decode(), done.returncode)


class Client:
    """One who talks to the control socket, properly or not."""

    def __init__(self, path: Path) -> None:
        self.socket = trio.socket.socket(socket.AF_UNIX)
        self._path = path
        self._buffer = b""

    async def __aenter__(self) -> Client:
        await self.socket.connect(str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        """All of it."""
        while data:
            data = data[await self.socket.send(data) :]

    async def line(self) -> dict[str, Any] | None:
        """The next line; None at the end."""
        while b"\n" not in self._buffer:
            try:
                data = await self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                assert self._buffer == b""
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, command: str, **fields: Any) -> Any:
        """The result of a command, or the text of the error."""
        request = {"notifyd": 1, "command": command, **fields}
        await self.send(json.dumps(request).encode() + b"\n")
        reply = await self.line()
        assert reply is not None
        assert reply.pop("notifyd") == 1
        ((_, found),) = reply.items()
        return found


@dataclass
class Ground:
    """Where a test happens: `path` is that of the control socket."""

    daemon: Daemon
    path: Path
    start: Callable[..., Workload]
    told: dict[str, int] = field(default_factory=dict)

    def client(self) -> Client:
        """A new connection: `async with ground.client() as client`."""
        return Client(self.path)

    async def as_nobody(self, command: str, **fields: Any) -> Any:
        """What nobody, of group nogroup, is answered over the real socket: the whole line."""
        for folder in (self.path.parent, *self.path.parents[1:4]):
            folder.chmod(folder.stat().st_mode | 0o055)
        self.path.chmod(0o666)
        request = json.dumps({"notifyd": 1, "command": command, **fields})
        done = await trio.run_process(
            ["/usr/bin/python3", "-c", STRANGER, str(self.path), request],
            user="nobody",
            group="nogroup",
            cwd="/",
            capture_stdout=True,
        )
        return json.loads(done.stdout)

    def call(self, name: str, calls: bytes) -> None:
        """Have a workload make calls, a letter of `CALLS` each."""
        os.write(self.told[name], calls)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        while not holds():
            await trio.sleep(0.01)

    async def counted(self, supervised: Workload, calls: int) -> None:
        """Wait until so many calls of a workload are answered."""
        counters = supervised.reporter.counters
        await self.until(lambda: sum(one.count for one in counters.sums().values()) >= calls)


def results(supervised) -> list[str]:
    """What the calls of a workload got."""
    return [row.result for row in supervised.reporter.counters.rows() for _ in range(row.count)]


Work = Callable[[Ground], Awaitable[None]]


@pytest.fixture
def policies(tmp_path: Path) -> Callable[..., Policies]:
    """Policies of one section, `all`: `policies(rules, users="any", top="watch = false")`."""

    def make(rules: str = RULES, users: object = (), top: str = "") -> Policies:
        (tmp_path / "r.py").write_text(rules)
        told = json.dumps(users if isinstance(users, str) else list(users))  # type: ignore[call-overload]
        (tmp_path / "notifyd.toml").write_text(
            f'{top}\n[sockets.native]\npath = "{tmp_path}/native.sock"\n'
            f'[sockets.control]\npath = "{tmp_path}/control.sock"\nusers = {told}\n'
            '[[workload]]\nname = "all"\nrules = ["./r.py"]\n'
        )
        return load_policies(tmp_path / "notifyd.toml")

    return make


@pytest.fixture
def live(
    tmp_path: Path,
    start_child: Callable[..., Any],
    policies: Callable[..., Policies],
    no_fd_left: None,
) -> Iterator[Callable[..., Daemon]]:
    """Run a daemon while an async function is at work: `live(work, children=["a"])`."""
    with contextlib.ExitStack() as stack:

        def run(
            work: Work,
            *,
            children: tuple[str, ...] = (),
            audit: str | None = None,
            reload: Reload | None = None,
            users: object = (),
            rules: str = RULES,
            top: str = "",
            store: Store | None = None,
            **limits: float,
        ) -> Daemon:
            found = policies(rules, users, top)
            sink = None if audit is None else stack.enter_context(JsonLines.open(audit))
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(tmp_path / "control.sock"))
            server.listen(1024)
            daemon = Daemon(found, sink, store)
            daemon.queue.attended = 1
            told: dict[str, int] = {}

            def start(name: str) -> Workload:
                reading, told[name] = os.pipe()
                stack.callback(os.close, told[name])
                child = start_child(lambda: _obey(reading), found.sections[0].program)
                os.close(reading)
                peer = Peer(os.getpid(), os.geteuid(), os.getegid(), "test")
                arrival = Arrival(NATIVE, peer, name, child.listener, pid=child.pid, killable=True)
                handed = daemon.arrivals.take_handover(arrival, found.sections[0].digest)
                return daemon.workloads[handed.workload]

            async def main() -> None:
                with trio.fail_after(PATIENCE):
                    async with trio.open_nursery() as nursery:
                        await nursery.start(daemon.run, {})
                        for name in children:
                            start(name)
                        nursery.start_soon(lambda: serve_control(server, daemon, reload, **limits))
                        await work(Ground(daemon, tmp_path / "control.sock", start, told))
                        nursery.cancel_scope.cancel()

            trio.run(main)
            return daemon

        yield run


def _at_once(count: int) -> None:
    """Make some calls that wait at the same time, each with another argument."""
    libc = ctypes.CDLL(None)  # os.getpgid would keep Python's lock, and the others waiting
    threads = [threading.Thread(target=libc.getpgid, args=(number,)) for number in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def _obey(reading: int) -> int:
    """Make the calls that are asked for, until nobody asks any more."""
    os.closerange(3, reading)  # a copy of a test's connection would keep it open
    os.closerange(reading + 1, 4096)
    while letter := os.read(reading, 1):
        with contextlib.suppress(OSError):
            CALLS[letter]()
    return 0
