"""Listeners that a service manager keeps: a daemon that is killed, and the one that comes next."""

import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from notifyd.kernel import unix

PATIENCE = 20.0  # seconds
CONFIGURATION = """
[sockets.oci]
path = "{here}/oci.sock"
[[workload]]
name = "strict"
rules = ["fake-hostname"]
options.name = "strict"
match.metadata = "strict"
[[workload]]
name = "other"
rules = ["fake-hostname"]
options.name = "other"
"""
# Becomes a command with descriptors from FIRST on, as systemd does it.
GIVEN = """
import fcntl, os, sys
high = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 500) for one in sys.argv[1].split(",")]
for number, one in enumerate(high, 3):
    os.dup2(one, number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Store:
    """What systemd does with descriptors: kept by name, and given to the next one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, fds, _ = unix.recv_fds(self._socket, 4096, 4)
            told = dict(line.split("=", 1) for line in data.decode().splitlines())
            if "END" in told:
                return
            if "FDSTORE" in told:
                self.kept[told["FDNAME"]] = fds[0]
            elif "FDSTOREREMOVE" in told and told["FDNAME"] in self.kept:
                os.close(self.kept.pop(told["FDNAME"]))

    def give(self, service) -> None:
        """Kill a daemon and start another one with what is kept."""
        service.process.kill()
        service.process.wait()
        names, fds = list(self.kept), tuple(self.kept.values())
        numbers = ",".join(map(str, fds))
        service.process = service.begin(
            *(sys.executable, "-c", GIVEN, numbers),
            pass_fds=fds,
            NOTIFY_SOCKET=str(self.path),
            LISTEN_FDS=str(len(fds)),
            LISTEN_FDNAMES=":".join(names),
        )
        _until(lambda: len(service.events("service.ready")) == 2)

    def close(self) -> None:
        """Let all go."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.sendto(b"END=1", str(self.path))
        self._thread.join()
        self._socket.close()
        for fd in self.kept.values():
            os.close(fd)


@pytest.fixture
def store(tmp_path):
    """A service manager."""
    made = Store(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def asking(behind, tmp_path):
    """A command that writes what uname says, again and again; where it does."""

    def begin(service, name, *, into=None, **state):
        said = tmp_path / name
        script = f"while :; do uname -n >{said}.new && mv {said}.new {said}; sleep 0.02; done"
        one = behind(["sh", "-c", script], "fake-hostname")
        if into is not None:
            state |= {"init": into.pid, "status": "running"}
        service.send("oci", service.state("same", one.pid, **state), [one.listener])
        os.close(one.listener)
        one.listener = None
        _until(said.exists)
        return one, said

    return begin


def _until(holds) -> None:
    end = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    assert holds()


def _says(said: Path) -> str:
    """What a command writes from now on."""
    said.unlink()
    _until(said.exists)
    return said.read_text().strip()


def test_the_same_id_twice(serve, store, asking):
    """Two that were told apart stay so, each under its rules; so does who has joined one."""
    service = serve(CONFIGURATION, NOTIFY_SOCKET=str(store.path))
    _, other = asking(service, "a", metadata="other")
    first, strict = asking(service, "b", metadata="strict")
    _, joined = asking(service, "c", into=first)
    assert [_says(one) for one in (other, strict, joined)] == ["other", "strict", "strict"]
    _until(lambda: len(store.kept) == 6)
    store.give(service)
    assert [_says(one) for one in (other, strict, joined)] == ["other", "strict", "strict"]
    restored = [one["workload"] for one in service.events("workload.restored")]
    assert restored == ["same", "same~2", "same~2"]


def test_who_has_joined_is_left(serve, store, asking):
    """The container's rules hold for it, though the container's first process has ended."""
    service = serve(CONFIGURATION, NOTIFY_SOCKET=str(store.path))
    first, _ = asking(service, "a", metadata="strict")
    _, joined = asking(service, "b", into=first)
    first.send_signal(9)
    _until(lambda: len(store.kept) == 2)
    store.give(service)
    assert _says(joined) == "strict"
