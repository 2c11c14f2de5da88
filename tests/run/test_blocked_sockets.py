"""Calls on sockets that wait: given up with their target, ended by signals, and not in the way."""

import socket
import sys
from pathlib import Path

import pytest

BLOCKED = Path(__file__).parent / "programs" / "blocked.py"
LOOKS = """
@on(Connect, Bind)
def looks(call):
    _ = call.address
    return Allow()

@on(Mkdir)
def makes(call):
    _ = call.path
    return Allow()
"""


@pytest.fixture
def full():
    """A port whose queue is full: who connects there waits."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield listener.getsockname()[1]


@pytest.mark.parametrize("user", [(), ("--user", "nobody")], ids=["root", "nobody"])
@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("killed", ["gone"]),
        ("signalled", ["interrupted", "gone"]),
        ("crowd", ["meanwhile 200"]),
        # Whoever has the socket, too, clears O_NONBLOCK in the midst of a connect.
        ("toggled", ["neighbour 10000"]),
    ],
)
@pytest.mark.root
def test_a_connection_that_waits(mode, says, user, full, rule, run, native, here):
    """As natively, with whatever it is done by: in process, by a helper, or by a thread."""
    words = sys.executable, str(BLOCKED), mode, str(full)
    expected = native(*words, cwd=here)
    for left in here.iterdir():
        left.rmdir()
    ran = run(*user, "--rules", rule(LOOKS, pulse=False), "--", *words, cwd=here)
    assert (ran.status, ran.lines) == (expected.status, expected.lines) == (7, says), ran
