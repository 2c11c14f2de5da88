"""A real daemon in a process of its own, and peers that speak to it as runtimes do."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from notifyd.kernel import unix
from notifyd.launch.spawn import listener_flags, spawn
from notifyd.launch.spawned import Spawned
from notifyd.policy.load import load

sys.path.insert(0, str(Path(__file__).parent))

from living import live, policies

__all__ = ["live", "policies"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0  # seconds; what a test waits at most


class Service:
    """`notifyd serve` with a configuration of the test's."""

    def __init__(self, folder: Path, text: str, **environment: str) -> None:
        self.folder = folder
        self.config = folder / "notifyd.toml"
        self.audit = folder / "events.jsonl"
        self.write(text)
        self._log = (folder / "log").open("wb")
        self.process = self.begin(**environment)

    def begin(
        self, *before: str, pass_fds: tuple[int, ...] = (), **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Start it, perhaps by another command; for the first time, or anew after its end."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "notifyd", "serve", "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stderr=self._log,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )

    def write(self, text: str) -> None:
        """Write the configuration; `{here}` is its folder."""
        head = f'audit = "{self.audit}"\n'
        self.config.write_text(head + textwrap.dedent(text).replace("{here}", str(self.folder)))

    def path(self, name: str) -> str:
        """Where a socket of the configuration is."""
        return str(self.folder / f"{name}.sock")

    def log(self) -> str:
        """What it said on standard error."""
        return (self.folder / "log").read_text()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The events of the audit file; of one name, if given."""
        data = self.audit.read_bytes() if self.audit.exists() else b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()  # the last may be only half there
        named = f'"event":"{name}"'.encode() if name else b""
        found = [json.loads(line) for line in lines if named in line]
        return [event for event in found if name in ("", event["event"])]

    def wait_for(self, name: str, **fields: object) -> dict[str, Any]:
        """The first event of that name and fields, as soon as it is there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for event in self.events(name):
                if all(event.get(key) == value for key, value in fields.items()):
                    return event
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)
        raise AssertionError(f"no {name} with {fields}:\n{self.log()}\n{self.events()}")

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.log()
            time.sleep(0.01)

    def fds(self) -> int:
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled_fds(self, wanted: int) -> int:
        """The same, as soon as they are at most `wanted`, or the patience is over."""
        end = time.monotonic() + PATIENCE
        while (found := self.fds()) > wanted and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def connect(self, name: str) -> socket.socket:
        """A connection to one of its sockets."""
        kind = socket.SOCK_SEQPACKET if name == "lxc" else socket.SOCK_STREAM
        connection = socket.socket(socket.AF_UNIX, kind)
        connection.settimeout(PATIENCE)
        connection.connect(self.path(name))
        return connection

    def send(self, name: str, message: object, fds: list[int], *, cut: int = 0) -> None:
        """Send a message as runtimes do, in two pieces if `cut`; then leave."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        with self.connect(name) as connection:
            first = data[:cut] if cut else data
            unix.send_fds(connection, first, fds)
            if cut:
                time.sleep(0.05)
                connection.sendall(data[cut:])

    @staticmethod
    def state(name: str, pid: int = 0, **more: Any) -> dict[str, Any]:
        """A containerProcessState as runc sends it."""
        fds = more.pop("fds", ["seccompFd"])
        metadata = more.pop("metadata", "")
        init = more.pop("init", pid)  # the container's first process
        inner = {"ociVersion": "1.0.2", "id": name, "status": "creating", "pid": init, **more}
        return {"ociVersion": "1.0.2", "fds": fds, "pid": pid, "metadata": metadata, "state": inner}

    def stop(self) -> int:
        """End it; its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._log.close()


Serve = Callable[..., Service]


@pytest.fixture
def serve(whole: None) -> Iterator[Serve]:
    """Start a daemon: `serve(configuration)`; it has ended, in order, when the test is over."""
    with contextlib.ExitStack() as stack:

        def starter(text: str, **environment: str) -> Service:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nd-")))
            folder.chmod(0o755)
            service = Service(folder, text, **environment)
            stack.callback(service.stop)
            service.wait_for("service.ready")
            return service

        yield starter


@pytest.fixture
def behind() -> Iterator[Callable[..., Spawned]]:
    """Start a command behind the filter of shipped rules: `behind(["sh", ...], "no-network")`."""
    with contextlib.ExitStack() as stack:

        def starter(command: list[str], *rules: str) -> Spawned:
            from notifyd.bpf.build import compile_profile
            from notifyd.engine.watching import watched_for
            from notifyd.policy.lower import lower

            found = load(rules)
            watch = [(one.syscall, one.cubes) for one in watched_for(found, audited=True)]
            program = compile_profile(lower(found, watch=watch).profile).program.to_bytes()
            spawned = spawn(command, program, flags=listener_flags())
            stack.callback(_finish, spawned)
            return spawned

        yield starter


def _finish(spawned: Spawned) -> None:
    if spawned.reap() is None:
        spawned.send_signal(signal.SIGKILL)
        os.waitpid(spawned.pid, 0)
    spawned.close()
