"""Capabilities of real tasks."""

import os
import re
import signal
from pathlib import Path

import pytest

from notifyd.kernel import capability, proc


def test_names_agree_with_the_headers():
    """Names and numbers are those of linux/capability.h."""
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    found = dict(re.findall(r"#define (CAP_[A-Z_]+)\s+(\d+)\s*$", header.read_text(), re.M))
    assert dict(capability.CAPABILITY_NUMBERS) == {
        name: int(number) for name, number in found.items()
    }


def test_own_sets_are_those_of_proc():
    """Capget and /proc agree."""
    fd = proc.open_dir(os.getpid())
    try:
        status = proc.read_status(fd)
    finally:
        os.close(fd)
    sets = capability.get()
    assert sets.effective == status.cap_effective
    assert sets.permitted == status.cap_permitted
    assert sets.inheritable == status.cap_inheritable
    assert sets == capability.get(os.getpid())


@pytest.mark.root
def test_has():
    """An unprivileged child has not what root has."""
    assert capability.has("CAP_SYS_ADMIN")
    assert capability.has(capability.CAPABILITY_NUMBERS["CAP_MKNOD"])
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.setresuid(65534, 65534, 65534)
        os.write(theirs, b"!")
        signal.pause()
    os.read(ours, 1)
    os.close(ours)
    os.close(theirs)
    assert not capability.has("CAP_SYS_ADMIN", pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        capability.get(pid)


def test_names_of():
    """A set has names, in order; a capability of a newer kernel still has one."""
    assert capability.names_of(0b1001 | 1 << 50) == ["CAP_CHOWN", "CAP_FOWNER", "CAP_50"]
    assert capability.names_of(0) == []
