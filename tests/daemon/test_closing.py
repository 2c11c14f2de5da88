"""Descriptors whose mere closing waits: whoever sends them holds nobody up."""

import contextlib
import json
import os
import signal
import socket
import struct
import time

import pytest

from notifyd.kernel import unix

CONFIGURATION = """
[sockets.oci]
path = "{here}/oci.sock"
[sockets.lxc]
path = "{here}/lxc.sock"
mode = "0666"
[sockets.native]
path = "{here}/native.sock"
mode = "0666"
[sockets.control]
path = "{here}/control.sock"
mode = "0666"
[[workload]]
name = "everything"
rules = ["fake-hostname"]
"""
PROGRAM = json.dumps({"notifyd": 1, "request": "program", "id": "x"}).encode()
LINGER = 30  # seconds
NOBODY = 65534


@pytest.fixture
def lingering():
    """A TCP socket with SO_LINGER and data that its peer does not take: its last close(2) waits."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        ours = stack.enter_context(socket.create_connection(server.getsockname()))
        stack.enter_context(server.accept()[0])
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(1 << 16))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
        yield ours


@pytest.mark.root
@pytest.mark.parametrize("name", ["oci", "lxc", "native", "control"])
@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "unwelcome"])
def test_lingering(serve, lingering, name, user):
    """Received or not, from somebody who may use the socket or not."""
    if (name, user) == ("oci", NOBODY):
        user = 0  # its mode keeps others out
    service = serve(CONFIGURATION)
    service.process.send_signal(signal.SIGSTOP)  # so that all of it is there before it is looked at
    os.seteuid(user)
    try:
        connection = service.connect(name)
    finally:
        os.seteuid(0)
    with connection:
        unix.send_fds(connection, b"{}\n", [lingering.fileno()])
        lingering.close()
        service.process.send_signal(signal.SIGCONT)
        service.wait_for("arrival.refused")
        begun = time.monotonic()
        with service.connect("native") as other:
            other.sendall(PROGRAM)
            assert "offer" in json.loads(other.makefile().read())
        assert time.monotonic() - begun < LINGER / 2


def test_more_than_there_is_room_for(serve, lingering):
    """The same for connections that are closed at once, since their user has too many."""
    service = serve(CONFIGURATION)
    with contextlib.ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(service.connect("oci"))
        extra = stack.enter_context(service.connect("oci"))
        with contextlib.suppress(BrokenPipeError):
            unix.send_fds(extra, b"{}", [lingering.fileno()])
        lingering.close()
        service.wait_for("arrival.refused")
        with service.connect("native") as other:
            other.sendall(PROGRAM)
            assert "offer" in json.loads(other.makefile().read())
