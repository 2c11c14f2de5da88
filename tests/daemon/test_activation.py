"""Sockets from systemd: from systemd-socket-activate, which is the real thing, and wrong ones."""

import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notifyd.daemon.activation import TYPES, take_activated
from notifyd.errors import UsageError

pytestmark = pytest.mark.usefixtures("no_fd_left")

TELLS = """
import os
from notifyd.daemon.activation import take_activated
given = take_activated(os.environ)
for name, one in given.sockets.items():
    print(name, one.type.name, one.fileno(), one.getsockname(), one.getblocking(),
          os.get_inheritable(one.fileno()))
print(*given.refused, sep="\\n")
print([name for name in os.environ if name.startswith("LISTEN_")])
"""

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "notifyd.service"
FIRST = 700  # a number that no test uses for anything else


@pytest.fixture
def given(tmp_path: Path):
    """Puts files at descriptors from FIRST on, and gives the environment that tells of them."""
    numbers: list[int] = []

    def give(names: str, *files: int) -> dict[str, str]:
        for number, file in enumerate(files, FIRST):
            os.dup2(file, number)
            numbers.append(number)
        count = str(len(files))
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names}
        return {**told, "HOME": "/"}

    yield give
    for number in numbers:
        try:
            os.close(number)
        except OSError:
            continue


def listening(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket as systemd makes it, but for blocking."""
    ours = socket.socket(socket.AF_UNIX, kind)
    ours.bind(str(path))
    ours.listen()
    return ours


def is_open(fd: int) -> bool:
    """Whether there is a descriptor of this number."""
    return os.path.exists(f"/proc/self/fd/{fd}")


@pytest.mark.usefixtures("whole")
def test_from_systemd(tmp_path: Path) -> None:
    """What the tool gives is taken with its name and type, and children will not see it."""
    path = tmp_path / "s"
    command = ["systemd-socket-activate", "--seqpacket", "-l", str(path), "--fdname=lxc"]
    with (
        subprocess.Popen(
            [*command, sys.executable, "-c", TELLS], stdout=subprocess.PIPE, text=True
        ) as started,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client,
    ):
        while client.connect_ex(str(path)):
            assert started.poll() is None
            time.sleep(0.01)
        said, _ = started.communicate(timeout=30)
    assert said == f"lxc SOCK_SEQPACKET 3 {path} False False\n\n[]\n"


def test_all_names(tmp_path: Path, given) -> None:
    """Each with its type; non-blocking and close-on-exec."""
    made = [listening(tmp_path / name, kind) for name, kind in TYPES.items()]
    environment = given(":".join(TYPES), *(one.fileno() for one in made))
    found = take_activated(environment, first=FIRST)
    assert environment == {"HOME": "/"}
    assert found.refused == ()
    assert {name: one.type for name, one in found.sockets.items()} == dict(TYPES)
    for one in found.sockets.values():
        assert not one.getblocking()
        assert fcntl.fcntl(one, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    for one in [*made, *found.sockets.values()]:
        one.close()


@pytest.mark.parametrize("pid", ["", "1", "x"])
def test_for_another_process(pid: str, given) -> None:
    """Nothing is touched but the variables, which our children shall not see either."""
    with open("/dev/null") as file:
        environment = given("oci", file.fileno())
        environment["LISTEN_PID"] = pid
        assert take_activated(environment, first=FIRST).sockets == {}
    assert is_open(FIRST)
    assert environment == {"HOME": "/"}


def test_without_systemd() -> None:
    """No variables, no sockets."""
    found = take_activated({"HOME": "/"})
    assert (found.sockets, found.refused) == ({}, ())


@pytest.mark.parametrize("names", ["other", "", "oci:other:oci"])
def test_what_nobody_knows_is_closed_and_reported(tmp_path: Path, names: str, given) -> None:
    """Unknown names, none, and one name twice."""
    with listening(tmp_path / "s") as ours:
        found = take_activated(given(names, *[ours.fileno()] * 3), first=FIRST)
    known = names.startswith("oci")
    assert list(found.sockets) == ["oci"] * known
    assert len(found.refused) == 3 - known
    assert all("closed" in line for line in found.refused)
    assert [is_open(FIRST + at) for at in range(3)] == [known, False, False]
    for one in found.sockets.values():
        one.close()


@pytest.mark.parametrize("wrong", ["file", "inet", "packet", "deaf", "nothing"])
def test_what_is_no_such_socket_is_refused(tmp_path: Path, wrong: str, given) -> None:
    """The line says what the unit has to say; every descriptor is closed."""
    with (
        listening(tmp_path / "s") as good,
        listening(tmp_path / "packet", socket.SOCK_SEQPACKET) as packet,
        socket.socket(socket.AF_INET) as inet,
        socket.socket(socket.AF_UNIX) as deaf,
        open("/dev/null") as file,
    ):
        bad = {"file": file, "inet": inet, "packet": packet, "deaf": deaf, "nothing": file}[wrong]
        environment = given("oci:other:control", *[one.fileno() for one in (good, good, bad)])
        if wrong == "nothing":
            os.close(FIRST + 2)
        with pytest.raises(UsageError, match=r"'control'.* ListenStream= and a path") as caught:
            take_activated(environment, first=FIRST)
    assert "\n" not in str(caught.value)
    assert not any(is_open(FIRST + at) for at in range(3))


@pytest.mark.parametrize("count", ["", "-1", "x", "٣", "8193", "9" * 30])
def test_what_is_no_number(count: str) -> None:
    """Is refused in one line, before anything is closed."""
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    with pytest.raises(UsageError, match="LISTEN_FDS"):
        take_activated(environment, first=FIRST)
    assert environment == {}


def test_as_many_as_the_unit_says() -> None:
    """All that systemd may keep is taken, and its names fit in one variable (execve(2))."""
    most = int(re.findall(r"^FileDescriptorStoreMax=(\d+)$", UNIT.read_text(), re.M)[0])
    sockets = "oci:lxc:native:control"
    kept = ":".join(f"{number:016x}.listener:{number:016x}.ledger" for number in range(most // 2))
    assert len(f"LISTEN_FDNAMES={sockets}:{kept}") < 32 * os.sysconf("SC_PAGE_SIZE")
    names = ":".join(["other"] * (most + 4))
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(most + 4)}
    found = take_activated({**environment, "LISTEN_FDNAMES": names}, first=FIRST)
    assert len(found.refused) == most + 4
