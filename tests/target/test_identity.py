"""Who a thread is: read from /proc, kept while it cannot change, and never another's."""

import os
import resource
import subprocess
import sys
import threading

import pytest

from notifyd.errors import TargetGone
from notifyd.target.identity import IDENTITY_CACHE_SIZE, Identities, read_identity


@pytest.fixture
def identities():
    """Identities that are told of every change; closed at the end."""
    made = Identities(watched=True)
    yield made
    made.close()


@pytest.fixture
def other():
    """A process that lives until the test ends."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_it_is_what_the_system_says():
    """Process, thread, parent, program and user of a thread of ours."""
    found = []
    thread = threading.Thread(target=lambda: found.append((threading.get_native_id(), read())))

    def read():
        return read_identity(threading.get_native_id())

    thread.start()
    thread.join()
    ((tid, identity),) = found
    assert (identity.pid, identity.tid, identity.ppid) == (os.getpid(), tid, os.getppid())
    assert os.fsdecode(identity.exe) == os.path.realpath(sys.executable)
    assert (identity.uid, identity.gid) == (os.geteuid(), os.getegid())


def test_it_is_kept(identities, other):
    """The second look is no look."""
    assert identities.of(other.pid) is identities.of(other.pid)


def test_it_is_not_kept_where_changes_are_not_told(other):
    """Without being told of execve and setuid nothing may be kept."""
    identities = Identities(watched=False)
    assert identities.of(other.pid) is not identities.of(other.pid)
    assert identities.of(other.pid) == identities.of(other.pid)


def test_a_change_is_looked_at(identities, other):
    """After setuid or execve it is read anew."""
    before = identities.of(other.pid)
    identities.changing(before, execs=False)
    assert identities.of(other.pid) is not before
    before = identities.of(other.pid)
    identities.changing(before, execs=True)
    assert identities.of(other.pid) is not before


def test_an_exec_of_another_thread_is_not_believed_early(identities):
    """While a thread is about to execute, nothing of its process is kept."""
    tids, gate = [], threading.Event()
    thread = threading.Thread(
        target=lambda: (tids.append(threading.get_native_id()), gate.wait(20))
    )
    thread.start()
    while not tids:
        pass
    try:
        identities.changing(identities.of(tids[0]), execs=True)
        ours = identities.of(os.getpid())
        assert identities.of(os.getpid()) is not ours
    finally:
        gate.set()
        thread.join()
    while os.path.exists(f"/proc/self/task/{tids[0]}"):  # joined is not yet gone
        pass
    assert identities.of(os.getpid()) is identities.of(os.getpid())


def test_the_dead_are_nobody(identities, other):
    """A process that ended is gone, though it was known."""
    identities.of(other.pid)
    other.kill()
    other.wait()
    with pytest.raises(TargetGone):
        identities.of(other.pid)


def test_the_dead_are_not_kept(identities, other):
    """A descriptor of a process keeps the pid namespace that it was in."""
    own = identities.of(os.getpid())
    identities.of(other.pid)
    other.kill()
    other.wait()
    identities.prune()
    assert list(identities.entries) == [os.getpid()]
    assert identities.of(os.getpid()) is own


def test_only_so_many_are_kept(identities):
    """Each costs a descriptor, so the oldest are dropped."""
    before = len(os.listdir("/proc/self/fd"))
    gate, tids = threading.Event(), []

    def work():
        tids.append(threading.get_native_id())
        gate.wait(20)

    threads = [threading.Thread(target=work) for _ in range(IDENTITY_CACHE_SIZE + 20)]
    for thread in threads:
        thread.start()
    while len(tids) < len(threads):
        pass
    for tid in tids:
        identities.of(tid)
    kept = len(os.listdir("/proc/self/fd")) - before
    gate.set()
    for thread in threads:
        thread.join()
    assert 0 < kept <= IDENTITY_CACHE_SIZE
    identities.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_when_descriptors_run_out(identities, other):
    """What is kept for speed alone is given back, and the next one is read all the same."""
    first = identities.of(os.getpid())
    assert identities.keeps(os.getpid(), first)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    try:
        for descriptor in free:
            os.close(descriptor)
        identity = identities.of(other.pid)  # takes four
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert identity.pid == other.pid
    assert not identities.keeps(os.getpid(), first)


def test_processes_that_executed_and_ended_are_forgotten(identities):
    """Most programs never call again what is watched: no trace of them is kept."""
    for _ in range(50):
        process = subprocess.Popen(["sleep", "1000"])
        identities.changing(identities.of(process.pid), execs=True)
        process.kill()
        process.wait()
    assert len(identities.executing) < 5
    assert len(identities.entries) < 5
