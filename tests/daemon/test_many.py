"""Two hundred workloads in one daemon: all are answered, and none waits for another's slow rule."""

import contextlib
import os
import resource
import signal
import socket
import time

import pytest

from notifyd.kernel import prctl, unix
from notifyd.kernel.seccomp import install
from notifyd.launch.spawn import listener_flags

COUNT = 200
CALLS = 50
CONFIGURATION = """
[sockets.oci]
path = "{here}/oci.sock"
[[workload]]
name = "slow"
rules = ["{slow}"]
match.metadata = "slow"
[[workload]]
name = "quick"
rules = ["fake-hostname"]
options.name = "elsewhere"
"""
SLOW = """
import os
import trio
from notifyd import Deny, Uname, on

@on(Uname, patience=60)
async def slow(call):
    while not os.path.exists("{go}"):
        await trio.sleep(0.05)
    return Deny(1)
"""


class Child:
    """A fork of ours behind a filter; asks for the host's name when it is told to."""

    def __init__(self, program: bytes) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            self._live(theirs, program)
        theirs.close()
        self.end = ours
        _, (self.listener,), _ = unix.recv_fds(ours, 1, 1)

    def _live(self, end: socket.socket, program: bytes) -> None:
        status = 1
        with contextlib.suppress(BaseException):
            signal.alarm(60)
            prctl.set_no_new_privs()
            unix.send_fds(end, b"l", [install(program, listener_flags())])
            count = end.recv(1)[0]
            names = {os.uname().nodename for _ in range(count)}
            status = 0 if names == {"elsewhere"} else 3
        os._exit(status)

    def go(self, calls: int) -> None:
        """Let it call."""
        self.end.send(bytes([calls]))

    def status(self) -> int:
        """Wait for its end."""
        _, status = os.waitpid(self.pid, 0)
        self.end.close()
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def program() -> bytes:
    """What reports uname(2)."""
    from notifyd.bpf.build import compile_profile
    from notifyd.policy.load import load
    from notifyd.policy.lower import lower

    return compile_profile(lower(load(["fake-hostname"])).profile).program.to_bytes()


@pytest.fixture
def crowd(serve, program, tmp_path):
    """A daemon, and as many children as are asked for, handed over to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    (tmp_path / "slow.py").write_text(SLOW.replace("{go}", str(tmp_path / "go")))

    def begin(count: int, slow: int = 0):
        service = serve(CONFIGURATION.replace("{slow}", str(tmp_path / "slow.py")))
        children = []
        for number in range(count):
            child = Child(program)
            metadata = "slow" if number < slow else ""
            message = service.state(f"c{number}", child.pid, metadata=metadata)
            service.send("oci", message, [child.listener])
            os.close(child.listener)
            children.append(child)
        service.wait_for("workload.started", workload=f"c{count - 1}")
        return service, children

    yield begin
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_all_are_answered(crowd):
    """Each of them calls in a loop, all at once."""
    service, children = crowd(COUNT)
    for child in children:
        child.go(CALLS)
    assert [child.status() for child in children] == [0] * COUNT
    service.wait_for("workload.ended", workload=f"c{COUNT - 1}")
    deadline = time.monotonic() + 20
    while len(service.events("workload.ended")) < COUNT and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {event["calls"] for event in service.events("workload.ended")} == {CALLS}


def test_nobody_waits_for_a_slow_rule(crowd, tmp_path):
    """Half of them wait for a rule that takes its time; the others have ended before."""
    service, children = crowd(40, slow=20)
    for number, child in enumerate(children):
        child.go(1 if number < 20 else CALLS)
    assert [child.status() for child in children[20:]] == [0] * 20
    assert _refused(service) == []
    (tmp_path / "go").touch()
    assert [child.status() for child in children[:20]] == [1] * 20
    deadline = time.monotonic() + 20
    while len(_refused(service)) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(_refused(service)) == 20


def _refused(service) -> list[dict]:
    return [event for event in service.events("call") if event["verdict"] == "deny"]
