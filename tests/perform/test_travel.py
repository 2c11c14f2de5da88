"""Going where a target is, and home again: real namespaces, in a process of its own."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, credentials, namespaces, pidfd
from notifyd.perform.placement import HelperPlan
from notifyd.perform.travel import Traveller, powers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="joining namespaces needs root")
KINDS = ("mnt", "uts", "ipc")
JOIN = sum(namespaces.NAMESPACE_TYPES[kind] for kind in KINDS)
PLAN = HelperPlan(JOIN, (0, 0, 0, 0), (), 0, True)


@pytest.fixture
def there() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with namespaces and a root of its own."""
    words = ["unshare", "-mui", "--root=/usr", "/bin/sh", "-c", "echo; read go"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def in_child(function) -> None:
    """Call a function in a child; it has to return."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def where(own: int) -> tuple[object, ...]:
    """Namespaces, root, and the powers in effect."""
    found = tuple(os.stat(f"../ns/{kind}", dir_fd=own).st_ino for kind in KINDS)
    return *found, os.stat("/").st_ino, capability.get().effective


def traveller(own: int) -> Traveller:
    """One that has no other powers than it needs."""
    credentials.set_capabilities(0, powers(PLAN))
    return Traveller(PLAN, own)


def way_to(pid: int) -> list[int]:
    """Its pidfd and its root."""
    return [pidfd.open_process(pid), os.open(f"/proc/{pid}/root", os.O_PATH)]


def test_it_goes_and_comes_home(there):
    """As often as one likes, with no power in effect on either side."""

    def travels():
        own = os.open("/proc/self/fd", os.O_RDONLY)
        ways = [way_to(there.pid) for _ in range(3)]
        one = traveller(own)
        home = where(own)
        before = len(os.listdir(own))
        for count, way in enumerate(ways, 1):
            one.go(way)
            away = where(own)
            assert not set(away[:4]) & set(home[:4])
            assert (away[4], os.path.exists("/bin/sh")) == (0, True)
            assert os.path.samestat(os.stat("."), os.stat(own))
            one.come_home()
            assert where(own) == home
            assert len(os.listdir(own)) == before - 2 * count

    in_child(travels)


def test_where_there_is_no_way_it_is_at_home(there):
    """The target has ended in the meantime."""
    way = way_to(there.pid)
    there.kill()
    there.wait()

    def travels():
        own = os.open("/proc/self/fd", os.O_RDONLY)
        one = traveller(own)
        home = where(own)
        with pytest.raises(CannotPerform, match="no helper can be where the target is"):
            one.go(way)
        assert where(own) == home

    in_child(travels)
    for descriptor in way:
        os.close(descriptor)
