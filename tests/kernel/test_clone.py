"""A child that shares the descriptor table."""

import errno
import os

import pytest

from notifyd.kernel import clone


def test_table_is_shared_and_parent_too(fork):
    """What the child opens is open in the caller, and the caller's parent waits for the child."""
    ours, theirs = os.pipe()

    def work():
        come, go = os.pipe()
        sibling = clone.fork_sharing_files()
        if not sibling:
            fd = os.open("/dev/null", os.O_RDONLY)
            os.write(go, bytes([fd]))
            os._exit(41 + (os.getppid() != parent))
        fd = os.read(come, 1)[0]
        os.write(theirs, str(sibling).encode())
        return int(os.readlink(f"/proc/self/fd/{fd}") != "/dev/null")

    parent = os.getpid()
    middle = fork(work)
    sibling = int(os.read(ours, 20))
    os.close(ours)
    os.close(theirs)
    assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 41
    assert os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1]) == 0


def test_memory_is_not_shared(fork):
    """The child has a copy of the memory, as after fork."""
    ours, theirs = os.pipe()

    def work():
        values = [1]
        come, go = os.pipe()
        sibling = clone.fork_sharing_files()
        if not sibling:
            values.append(2)
            os.write(go, b"!")
            os._exit(0)
        os.read(come, 1)
        os.write(theirs, str(sibling).encode())
        return len(values)

    middle = fork(work)
    sibling = int(os.read(ours, 20))
    os.close(ours)
    os.close(theirs)
    os.waitpid(sibling, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1]) == 1


def test_refused_clone(monkeypatch):
    """A failing clone is an OSError in the caller."""
    monkeypatch.setattr(clone, "_CLONE_FILES", 0x800)  # CLONE_SIGHAND without CLONE_VM: EINVAL
    with pytest.raises(OSError) as caught:
        clone.fork_sharing_files()
    assert caught.value.errno == errno.EINVAL
