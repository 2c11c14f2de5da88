"""What is told to systemd, and that nobody who does not listen can hold us up."""

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from notifyd.daemon.sd_notify import Manager

pytestmark = pytest.mark.usefixtures("no_fd_left")


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path):
    """A socket such as systemd's, and what NOTIFY_SOCKET says of it."""
    name = f"@notifyd-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(name.replace("@", "\0") if name[0] == "@" else name)
        ours.setblocking(False)
        yield ours, name


def told(ours: socket.socket) -> list[str]:
    """All that has arrived."""
    found = []
    while True:
        try:
            found.append(ours.recv(4096).decode())
        except BlockingIOError:
            return found


def test_each_message(listener) -> None:
    """As sd_notify(3) has them; the variables are gone."""
    ours, name = listener
    environment = {"NOTIFY_SOCKET": name, "HOME": "/"}
    before = time.monotonic_ns() // 1000
    with Manager(environment) as manager:
        manager.ready()
        manager.status("2 workloads\nREADY=1")
        manager.reloading()
        manager.stopping()
    ready, status, reloading, stopping = told(ours)
    assert (ready, status, stopping) == ("READY=1", "STATUS=2 workloads READY=1", "STOPPING=1")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert before <= int(reloading.rpartition("=")[2]) <= time.monotonic_ns() // 1000
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody is here", "vsock:2:1", "x"])
def test_nobody(address: str) -> None:
    """Whoever runs us without systemd, or with nonsense, hears nothing of it."""
    with Manager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}) as manager:
        assert manager.watchdog_interval is None
        manager.ready()
        manager.stopping()
        trio.run(manager.watch, lambda: True)


def test_somebody_who_left(tmp_path: Path) -> None:
    """The manager closed its socket while we ran."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(path)
        manager = Manager({"NOTIFY_SOCKET": path})
    with manager:
        manager.ready()


def test_somebody_who_does_not_read(listener) -> None:
    """A full queue holds a message up for a moment, and a pet of the watchdog not at all."""
    ours, name = listener
    sent = 0
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
        contextlib.suppress(BlockingIOError),
    ):
        others.setblocking(False)
        while True:
            others.sendto(b"full", ours.getsockname())
            sent += 1

    async def pet(manager: Manager) -> None:
        with trio.move_on_after(0):
            await manager.watch(lambda: True)

    with Manager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}) as manager:
        begun = time.monotonic()
        manager.ready()
        assert 0.15 <= time.monotonic() - begun < 2
        petting = []
        for _ in range(5):  # the machine may be busy with something else for once
            begun = time.monotonic()
            trio.run(pet, manager)
            petting.append(time.monotonic() - begun)
        assert min(petting) < 0.15
    assert told(ours) == ["full"] * sent


@pytest.mark.parametrize(
    ("limit", "pid", "interval"),
    [
        ("30000000", "", 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("1000000", "x", None),
        ("0", "", None),
        ("", "", None),
        ("-5", "", None),
        ("²", "", None),
    ],
)
def test_whom_the_watchdog_watches(listener, limit: str, pid: str, interval: float | None) -> None:
    """Half the limit, if it is a number and meant for us."""
    environment = {"NOTIFY_SOCKET": listener[1], "WATCHDOG_USEC": limit, "WATCHDOG_PID": pid}
    with Manager(environment) as manager:
        assert manager.watchdog_interval == interval
    assert environment == {}


def test_the_watchdog_is_petted_while_all_is_well(listener) -> None:
    """Every half of the limit; not while something that must run does not."""
    ours, name = listener
    well = [True, True, False, False, True]
    seen = []

    async def main(manager: Manager) -> None:
        with trio.move_on_after(4.5 * 5):
            await manager.watch(lambda: seen.append(trio.current_time()) or well.pop(0))

    with Manager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"}) as manager:
        trio.run(main, manager, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [round(at - seen[0]) for at in seen] == [0, 5, 10, 15, 20]
    assert told(ours) == ["WATCHDOG=1"] * 3
