"""A daemon, a workload that nobody must disturb, and a server of files that does not answer."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 30.0  # seconds; what a test waits at most
ROUNDS = 50  # calls of the neighbour that have to be answered meanwhile
NEIGHBOUR = """
import ctypes, os
libc, room = ctypes.CDLL(None), ctypes.create_string_buffer(256)
while True:
    assert libc.sysinfo(room) == 4711
    os.close(os.open("/etc/passwd", os.O_RDONLY))
    os.write(1, b".")
"""
PYTHON = "/usr/bin/python3"


class Talker:
    """A process whose standard output is read with patience."""

    def __init__(self, line: list[str], **more: object) -> None:
        self.input, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                line,
                stdin=theirs,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
                **more,
            )
        self.said = b""

    def hear(self, done: Callable[[bytes], bool]) -> bytes:
        """What it has said, as soon as that is enough."""
        end = time.monotonic() + PATIENCE
        while not done(self.said):
            left = end - time.monotonic()
            assert left > 0, f"{self.process.args}: {self.said[-500:]!r}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"{self.process.args} ended: {self.said[-500:]!r}"
                self.said += data
        return self.said

    def go(self) -> None:
        """Send it a byte."""
        self.input.send(b"g")

    def until(self, text: str) -> None:
        """Wait until it has said that."""
        self.hear(lambda said: text.encode() in said)

    def kill(self) -> None:
        """End its whole session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """The same, and wait for that."""
        self.kill()
        self.input.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


class Served(Talker):
    """The server, with its folder."""

    def __init__(self, folder: str, *before: str, opens: bool = False) -> None:
        self.folder = folder
        line = [*before, PYTHON, str(HERE / "served.py"), folder, *(["opens"] if opens else [])]
        super().__init__(line)
        self.until("mounted\n")

    def withhold(self) -> None:
        """Have it withhold answers from now on; what it has said before is forgotten."""
        self.said = b""
        self.go()

    def release(self) -> None:
        """Have it answer all that it has withheld, and from now on everything."""
        self.input.close()


class Daemon:
    """`notifyd serve`, and a workload of it that makes calls all the time."""

    def __init__(self, folder: str) -> None:
        config = Path(folder, "n.toml")
        self.socket = f"{folder}/native.sock"
        config.write_text(
            f'[sockets.native]\npath = "{self.socket}"\n'
            f'[[workload]]\nname = "all"\nrules = ["{HERE}/rule.py"]\n'
        )
        line = [sys.executable, "-m", "notifyd", "serve", "--config", str(config)]
        with Path(folder, "log").open("wb") as log:
            self.process = Talker(line, stderr=log)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(self.socket):
            assert time.monotonic() < end, Path(folder, "log").read_text()
            time.sleep(0.01)
        self._attacks: list[Talker] = []
        self.neighbour = Talker(self.run(PYTHON, "-c", NEIGHBOUR))
        try:
            self.neighbour.hear(lambda said: len(said) > ROUNDS)
        except BaseException:
            print(Path(folder, "log").read_text())
            raise

    def run(self, *words: str) -> list[str]:
        """The line that runs a command under it."""
        line = [sys.executable, "-m", "notifyd", "run", f"--service={self.socket}", "-q", "--"]
        return [*line, *words]

    def attack(self, kind: str, served: Served, *, withhold: bool = True) -> Talker:
        """Have `attack.py` make its call under it, while the server withholds its answers."""
        attack = Talker(self.run(PYTHON, str(HERE / "attack.py"), kind, served.folder))
        self._attacks.append(attack)
        if kind == "read-received":
            with open(f"/proc/{served.process.pid}/root{served.folder}/read", "rb") as file:
                socket.send_fds(attack.input, [b"f"], [file.fileno()])
        attack.until("ready")
        if withhold:
            served.withhold()
        if kind == "write-buffer":
            attack.go()
            served.until("write write")
        attack.go()
        attack.until("begins")
        return attack

    def goes_on(self) -> None:
        """See that the neighbour's calls are answered."""
        self.neighbour.said = b""
        os.set_blocking(self.neighbour.process.stdout.fileno(), False)
        with contextlib.suppress(BlockingIOError):  # what was answered before does not count
            while os.read(self.neighbour.process.stdout.fileno(), 1 << 20):
                pass
        self.neighbour.hear(lambda said: len(said) > ROUNDS)

    def end_attacks(self) -> None:
        """End what a test has left, its servers having gone."""
        for attack in self._attacks:
            attack.close()
        self._attacks.clear()

    def close(self) -> None:
        """End it."""
        self.neighbour.close()
        self.process.process.terminate()
        self.process.close()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One for all tests of a module."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder, contextlib.ExitStack() as stack:
        daemon = Daemon(folder)
        stack.callback(daemon.close)
        yield daemon


@pytest.fixture
def serve(daemon: Daemon) -> Iterator[Callable[..., Served]]:
    """Start a server: `serve()`; `serve("notifyd", "run", ...)` has it started by a command."""
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end_attacks)

        def starter(*before: str, opens: bool = False) -> Served:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ns-"))
            stack.callback(_unmount, folder)
            served = Served(folder, *before, opens=opens)
            stack.callback(served.close)
            return served

        yield starter


def _unmount(folder: str) -> None:
    ctypes.CDLL(None).umount2(os.fsencode(folder), 2)  # MNT_DETACH
