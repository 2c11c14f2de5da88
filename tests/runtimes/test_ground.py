"""Nothing that a runtime started is left, and whatever is left is found."""

import sys

import pytest
from containers import oci
from containers.ground import VARIABLE, Ground

pytestmark = pytest.mark.root

ORPHAN = """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
time.sleep(60)
"""


def has_processes(group):
    """Whether anybody is in a control group, which may go at any moment."""
    try:
        return bool((group / "cgroup.procs").read_text())
    except OSError:
        return False


def test_a_killed_container_leaves_nothing(ground, runtime):
    """No process, group or mount, of a container and of a second process in it."""
    before = ground.processes(), ground.mounts()
    with runtime.start(oci.profile()) as container:
        assert container.exec(["/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & exit 3"]).status == 3
        groups = [one for one in ground.cgroups() if runtime.id_of(container.name) in str(one)]
        assert len(ground.processes()) > len(before[0])
    assert ground.settled(beside=before[0]) == {}
    assert ground.mounts() == before[1]
    assert [one for one in groups if has_processes(one)] == []


def test_what_is_left_is_found_and_killed(ground):
    """An orphan in a session of its own, whose parent is nobody of ours."""
    other = Ground.make()
    assert other.run([sys.executable, "-c", ORPHAN]).status == 0
    (pid,) = other.processes()
    with pytest.raises(AssertionError, match="left behind") as raised:
        other.clear(patience=0)
    assert str(pid) in str(raised.value)
    assert other.processes() == {}
    assert not other.folder.exists()


def test_every_container_carries_the_mark(ground, runtime):
    """It is found by it, also if its runtime forgot it."""
    finished = runtime.run(f"echo ${VARIABLE}", oci.profile())
    assert finished.stdout.split() == [ground.mark]
