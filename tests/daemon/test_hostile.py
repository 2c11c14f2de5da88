"""Peers that mean harm: each is refused with a line that names it, and nobody else notices."""

import contextlib
import fcntl
import json
import os
import random
import select
import socket
import struct
import termios
import threading
import time

import pytest

from notifyd.kernel import unix
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier

CONFIGURATION = """
[sockets.oci]
path = "{here}/oci.sock"
[sockets.native]
path = "{here}/native.sock"
[sockets.lxc]
path = "{here}/lxc.sock"
[sockets.control]
path = "{here}/control.sock"
[[workload]]
name = "everything"
rules = ["fake-hostname"]
options.name = "elsewhere"
"""
SOCKETS = ("oci", "native", "lxc", "control")


@pytest.fixture
def service(serve):
    """A daemon that has settled."""
    return serve(CONFIGURATION)


@pytest.fixture
def unharmed(service, behind):
    """Checks that the daemon still serves others, and has no descriptor more than before."""
    _served(service, behind, "first")
    before = service.fds()

    def check() -> None:
        _served(service, behind, f"other-{time.monotonic_ns()}")
        assert service.settled_fds(before) <= before, os.listdir(f"/proc/{service.process.pid}/fd")

    return check


def _served(service, behind, name: str) -> None:
    one = behind(["sh", "-c", 'test "$(uname -n)" = elsewhere'], "fake-hostname")
    service.send("oci", service.state(name, one.pid), [one.listener])
    os.close(one.listener)
    one.listener = None
    end = time.monotonic() + 20
    while one.reap() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert one.reap() == 0, service.log()
    service.wait_for("workload.ended", workload=name)


def _wrong_fds() -> dict[str, tuple[list[str], int, str]]:
    """Names, how many descriptors, and what is said of it."""
    return {
        "none": ([], 0, "0 descriptors are named seccompFd"),
        "not the named": (["seccompFd"], 0, "1 names for 0 descriptors"),
        "more than named": (["seccompFd"], 3, "1 names for 3 descriptors"),
        "a file": (["seccompFd"], 1, "expected a seccomp listener, got another"),
        "twice": (["seccompFd", "seccompFd"], 2, "2 descriptors are named seccompFd"),
        "unknown names": (["a", "b"], 2, "0 descriptors are named seccompFd"),
        "250": (["seccompFd"] + ["x"] * 249, 250, "expected a seccomp listener, got another"),
    }


@pytest.mark.parametrize("case", _wrong_fds())
def test_wrong_descriptors(service, unharmed, case):
    """Descriptors that are not what the message says."""
    names, count, said = _wrong_fds()[case]
    with open("/dev/null") as null:
        service.send("oci", service.state("x", fds=names), [null.fileno()] * count)
    assert said in service.wait_for("arrival.refused")["reason"]
    assert f"pid {os.getpid()}, uid {os.getuid()}" in service.events("arrival.refused")[0]["peer"]
    unharmed()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b'{"ociVersion": "1', "ends after 17 bytes"),
        (b"[1, 2, 3]", "no JSON object"),
        (b"\x00\xff\xfe", "no JSON object"),
        (b'{"state": {"id": 5}}', "no containerProcessState"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no containerProcessState"),
        (b'{"state": {"id": "a\\u001b[2J"}, "fds": []}', "descriptors are named seccompFd"),
        (b'{"state": {"id": "\xff"}, "fds": []}', "no containerProcessState"),
    ],
)
def test_wrong_messages(service, unharmed, message, said):
    """Bytes that are no containerProcessState."""
    service.send("oci", message, [])
    assert said in service.wait_for("arrival.refused")["reason"]
    unharmed()


def test_huge_message(service, unharmed):
    """Ten megabytes of JSON are not read to the end."""
    with service.connect("oci") as connection, contextlib.suppress(OSError):
        connection.sendall(b'{"a": "' + b"x" * 10_000_000)
    assert "more than 1048576 bytes" in service.wait_for("arrival.refused")["reason"]
    unharmed()


@pytest.mark.parametrize("name", SOCKETS)
def test_says_nothing(service, unharmed, behind, name):
    """Whoever connects and says nothing, or leaves at once, holds nobody up."""
    service.connect(name).close()
    with service.connect(name):
        _served(service, behind, "meanwhile")
    unharmed()


def test_never_closes(service, unharmed):
    """Whoever brings nothing is hung up on after some seconds, at every socket for arrivals."""
    with contextlib.ExitStack() as stack:
        for name in ("oci", "native", "lxc"):
            stack.enter_context(service.connect(name))
        unharmed()


def _unread(connection: socket.socket) -> int:
    """How much the other end has not received: unix(7), SIOCOUTQ."""
    (size,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return size


def test_late_descriptors(service, unharmed):
    """Descriptors that come after the first bytes are closed, and their sender is refused."""
    with service.connect("oci") as connection, open("/dev/null") as null:
        connection.sendall(b'{"ociVersion": ')
        service.until(lambda: not _unread(connection))
        socket.send_fds(connection, [b'"1"}'], [null.fileno()])
        assert "too late" in service.wait_for("arrival.refused")["reason"]
    unharmed()


def test_a_thousand_connections(service, unharmed):
    """More connections than there is room for are closed at once; later there is room again."""
    for name in SOCKETS:
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                last = stack.enter_context(service.connect(name))
            with contextlib.suppress(ConnectionResetError):
                assert last.recv(1) == b"", name
    service.wait_for("arrivals.refused")  # that of more than are told one by one
    unharmed()
    with service.connect("control") as connection, connection.makefile() as lines:
        connection.sendall(b'{"notifyd":1,"command":"status"}\n')
        refused = json.loads(lines.readline())["result"]["arrivals_refused"]
    assert all(refused[name] > 100 for name in ("oci", "native", "lxc")), refused


def test_a_pile_of_descriptors(service, unharmed):
    """Half a request with many of them is not waited for: they would be kept meanwhile."""
    before = service.fds()
    with service.connect("native") as connection, open("/dev/null") as null:
        unix.send_fds(connection, b'{"notifyd": 1', [null.fileno()] * unix.SCM_MAX_FD)
        answer = json.loads(connection.makefile().readline())
        assert answer["error"] == f"{unix.SCM_MAX_FD} descriptors: too many"
        assert service.settled_fds(before) <= before
    unharmed()


def test_dead_listener(service, unharmed, behind):
    """A listener whose tasks are all gone is taken and ended."""
    dead = behind(["true"], "no-privilege-escalation", "fake-hostname")
    listener = os.dup(dead.listener)
    dead.send_signal(9)
    while dead.reap() is None:
        time.sleep(0.01)
    dead.close()
    service.send("oci", service.state("dead", 1), [listener])
    os.close(listener)
    assert service.wait_for("workload.ended", workload="dead")["calls"] == 0
    unharmed()


def test_listener_twice(service, unharmed, behind):
    """The same listener in two hands: every call gets one answer, from one of them."""
    one = behind(["sh", "-c", "uname -n; uname -n; uname -n"], "fake-hostname")
    for name in ("a", "b"):
        service.send("oci", service.state(name, one.pid), [one.listener])
    os.close(one.listener)
    one.listener = None
    end = time.monotonic() + 20
    while one.reap() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert one.reap() == 0
    unharmed()


def test_keeps_reading(service, unharmed, behind):
    """A peer that kept the listener and takes notifications away cannot hold the daemon up."""
    script = "while :; do uname >/dev/null; sleep 0.01; done"
    one = behind(["sh", "-c", script], "fake-hostname")
    service.send("oci", service.state("kept", one.pid), [one.listener])
    over = threading.Event()

    def steal() -> None:
        poll = select.poll()
        poll.register(one.listener, select.POLLIN)
        thief = Notifier(one.listener)
        while not over.is_set():
            if poll.poll(10):
                with contextlib.suppress(OSError):
                    note = thief.receive()
                    thief.respond(note[0], 0, 0, RESPONSE_CONTINUE)

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        for _ in range(10):
            _served(service, behind, f"other-{time.monotonic_ns()}")
    finally:
        over.set()
        thread.join()
    while one.reap() is None:
        one.send_signal(9)
        time.sleep(0.01)
    one.close()
    unharmed()


@pytest.mark.parametrize("name", SOCKETS)
def test_garbage(service, unharmed, name):
    """Random bytes and descriptors, many times, some of them from half-good messages."""
    dice = random.Random(4711)  # the same every time, to be found again
    good = b'{"fds":["seccompFd"],"state":{"id":"x"},"notifyd":1,"request":"handover"}'
    with open("/dev/null") as null:
        for _ in range(400):
            data = bytearray(good if dice.random() < 0.7 else dice.randbytes(dice.randrange(1, 90)))
            for _ in range(dice.randrange(4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            with contextlib.suppress(OSError), service.connect(name) as connection:
                fds = [null.fileno()] * dice.randrange(4)
                socket.send_fds(connection, [bytes(data[: dice.randrange(1, len(data) + 1)])], fds)
    unharmed()
    assert "supervisor.error" not in service.log()
    assert "Traceback" not in service.log()


def test_slow_sender(service, unharmed):
    """A message of single bytes costs its sender more than the daemon."""

    def drip() -> None:
        with contextlib.suppress(OSError), service.connect("oci") as connection:
            for _ in range(200):
                connection.sendall(b"{")
                time.sleep(0.005)

    threads = [threading.Thread(target=drip) for _ in range(8)]
    for thread in threads:
        thread.start()
    unharmed_at_once = time.monotonic()
    for thread in threads:
        thread.join()
    assert time.monotonic() - unharmed_at_once < 20
    unharmed()
