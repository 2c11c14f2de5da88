"""One person with many user ids (subuid(5)): neither the room nor the log is theirs alone."""

import contextlib
import json
import os

import pytest

from notifyd.daemon import refusal_log
from notifyd.intake import reception

CONFIGURATION = """
[sockets.native]
path = "{here}/native.sock"
mode = "0666"
users = "any"
[[workload]]
name = "everything"
rules = ["fake-hostname"]
match.user = 0
"""


@pytest.fixture
def service(serve):
    """A daemon whose native socket is for everybody."""
    return serve(CONFIGURATION)


def _connect(service, uid: int, stack: contextlib.ExitStack):
    os.seteuid(uid)
    try:
        return stack.enter_context(service.connect("native"))
    finally:
        os.seteuid(0)


def _asked(connection) -> dict:
    connection.sendall(json.dumps({"notifyd": 1, "request": "program", "id": "x"}).encode())
    return json.loads(connection.makefile().read())


@pytest.mark.root
def test_room_for_root(service):
    """All connections that others may have are taken, and root still comes in."""
    users = reception.MAX_CONNECTIONS // reception.MAX_CONNECTIONS_PER_USER + 1
    with contextlib.ExitStack() as stack:
        for uid in range(100_000, 100_000 + users):
            for _ in range(reception.MAX_CONNECTIONS_PER_USER):
                _connect(service, uid, stack)
        service.wait_for("arrival.refused")
        assert "offer" in _asked(_connect(service, 0, stack))


@pytest.mark.root
def test_the_log(service):
    """What is refused is told one by one a few times, then counted."""
    for uid in range(100_000, 100_000 + refusal_log.MAX_REFUSALS + 30):
        with contextlib.ExitStack() as stack:
            assert "no section" in _asked(_connect(service, uid, stack))["error"]
    service.wait_for("arrivals.refused")
    assert len(service.events("arrival.refused")) <= 2 * refusal_log.MAX_REFUSALS
