"""Which process is behind an arrival: what a peer says of it counts only if it is theirs."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from notifyd.daemon.config import Match
from notifyd.daemon.matching import cgroups_of, fits
from notifyd.daemon.workload import open_first
from notifyd.intake.arrival import Arrival, ArrivalKind, Peer
from notifyd.intake.native import NATIVE
from notifyd.intake.oci import OCI
from notifyd.kernel import proc

CGROUP = "/sys/fs/cgroup"


@pytest.fixture
def process():
    """A process of ours."""
    with subprocess.Popen(["sleep", "60"]) as found:
        yield found
        found.kill()


def _arrival(
    pid: int, uid: int, kind: ArrivalKind = NATIVE, peer_pid: int | None = None
) -> Arrival:
    pid_ = os.getpid() if peer_pid is None else peer_pid
    peer = Peer(pid_, uid, uid, "test", cgroups=("/of/the/peer",))
    return Arrival(kind, peer, "c1", -1, pid=pid, metadata="m", annotations={"a": "b"})


def test_ones_own(process):
    """A process of the peer's user is opened."""
    pid, descriptor = open_first(_arrival(process.pid, os.getuid()))
    assert pid == process.pid
    os.close(descriptor)


@pytest.mark.root
@pytest.mark.parametrize(
    ("pid", "uid", "peer_pid"),
    [
        (1, 65534, None),
        (0, 0, None),
        (-1, 0, None),
        (2**31 - 1, 0, None),
        (2**40, 0, None),
        (1, 0, 0),
    ],
    ids=["another's", "none", "negative", "not there", "too large", "another namespace"],
)
def test_not_theirs(pid, uid, peer_pid):
    """Numbers that mean nothing here, or somebody else."""
    assert open_first(_arrival(pid, uid, peer_pid=peer_pid)) == (0, -1)


def test_cgroups(process):
    """A runtime's container is looked at; of anybody else, who connected."""
    assert cgroups_of(_arrival(process.pid, os.getuid())) == ("/of/the/peer",)
    assert cgroups_of(_arrival(process.pid, os.getuid(), OCI)) == proc.cgroups(process.pid)
    assert cgroups_of(_arrival(process.pid, 12345, OCI)) == ("/of/the/peer",)
    assert cgroups_of(_arrival(1, 0, OCI, peer_pid=0)) == ("/of/the/peer",)


def test_cgroups_of_who_connected(process):
    """Not of a process that has ended: another one may have its number."""
    server = socket.socket(socket.AF_UNIX)
    with server, tempfile.TemporaryDirectory() as folder:
        server.bind(f"{folder}/s")
        server.listen()
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(f"{folder}/s")
            with server.accept()[0] as connection:
                assert Peer.of(connection).cgroups == proc.cgroups(os.getpid())
        pid = os.fork()
        if not pid:
            ours = socket.socket(socket.AF_UNIX)
            ours.connect(f"{folder}/s")
            os._exit(0)
        with server.accept()[0] as connection:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # its number is still taken
            assert Path(f"/proc/{pid}/cgroup").read_text()
            assert Peer.of(connection).cgroups == ()
            os.waitpid(pid, 0)
            assert Peer.of(connection).cgroups == ()


@pytest.mark.root
def test_a_cgroup_with_a_strange_name():
    """Whoever may make cgroups can put anything but a newline and a slash into their names."""
    root = Path("/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else CGROUP)
    top = root / f"notifyd-test-{os.getpid()}\u2028"
    inner = top / "x\x0b0::" / "trusted.service"
    inner.mkdir(parents=True)
    child = subprocess.Popen(["sleep", "60"])
    try:
        (inner / "cgroup.procs").write_text(str(child.pid))
        (found,) = proc.cgroups(child.pid)
        assert found.endswith(f"/{top.name}/x\x0b0::/trusted.service")
    finally:
        child.kill()
        child.wait()
        for one in (inner, inner.parent, top):
            one.rmdir()


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ({}, True),
        ({"arrival": "native"}, True),
        ({"arrival": ["oci", "lxc"]}, False),
        ({"id": "c*"}, True),
        ({"id": ["x", "c[2-9]"]}, False),
        ({"metadata": "m", "id": "c?"}, True),
        ({"metadata": ""}, False),
        ({"annotations": {"a": "b"}}, True),
        ({"annotations": {"a": []}}, True),
        ({"annotations": {"other": "*"}}, False),
        ({"user": [4711, 0]}, True),
        ({"user": 4711}, False),
        ({"cgroup": "/a/*"}, True),
        ({"cgroup": "/b"}, False),
    ],
)
def test_matching(match, wanted):
    """All that a section asks for has to fit."""
    assert fits(Match(**match), _arrival(1, 0), ["/a/b"]) is wanted
