"""Which process is behind an arrival: what a peer says of it counts only if it is theirs."""

import os
import subprocess
from pathlib import Path

import pytest

from notifyd.listen.arrival import Arrival, Kind, Peer
from notifyd.service.config import Match
from notifyd.service.matching import cgroups_of, fits
from notifyd.service.supervised import open_first


@pytest.fixture
def process():
    """A process of ours."""
    with subprocess.Popen(["sleep", "60"]) as found:
        yield found
        found.kill()


def _arrival(pid: int, uid: int, kind: Kind = Kind.NATIVE, peer_pid: int | None = None) -> Arrival:
    peer = Peer(os.getpid() if peer_pid is None else peer_pid, uid, uid, "test")
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
    """A runtime's container is looked at; of a program's handover, the program itself."""
    ours = Path("/proc/self/cgroup").read_text()
    assert all(path in ours for path in cgroups_of(_arrival(process.pid, os.getuid())))
    assert cgroups_of(_arrival(process.pid, os.getuid(), Kind.OCI))
    assert cgroups_of(_arrival(1, 0, peer_pid=0)) == ()


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
    assert fits(Match(**match), _arrival(1, 0), lambda: ["/a/b"]) is wanted
