"""Which mount a file is on, and whose mount that is."""

import os
import subprocess

import pytest

from notifyd.kernel import mountinfo, mounts, proc, statmount

LOOK = os.O_PATH | os.O_CLOEXEC
root = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


@pytest.fixture
def look():
    """Open a path with O_PATH; closed at the end."""
    opened = []

    def opener(path, **more):
        opened.append(os.open(path, LOOK, **more))
        return opened[-1]

    yield opener
    for one in opened:
        os.close(one)


@pytest.fixture
def apart():
    """A process in a mount namespace of its own."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_spot_is_a_file_on_a_mount(look, tmp_path):
    """Two descriptors of one file are of one spot; its directory is another on the same mount."""
    (tmp_path / "file").touch()
    one, other = statmount.spot(look(tmp_path / "file")), statmount.spot(look(tmp_path / "file"))
    assert one == other
    assert one.inode == (tmp_path / "file").stat().st_ino
    assert statmount.spot(look(tmp_path))[0] == one.mount != statmount.mount_of(look("/proc"))
    assert statmount.mode_of(look(tmp_path)) == tmp_path.stat().st_mode


def test_our_own_root_is_found_as_any_other(look):
    """By the same numbers."""
    assert statmount.own_root() == statmount.spot(look("/"))


def test_a_descriptor_that_is_closed():
    """EBADF."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        statmount.spot(987)


def test_what_our_namespace_holds(look):
    """Its mounts, and not those of the kernel itself; both ways to know it agree."""
    memory, (reading, writing) = os.memfd_create("x"), os.pipe()
    try:
        for fd in (look("/"), look("/proc"), memory, reading):
            ours = fd not in (memory, reading)
            assert statmount.held(0, statmount.mount_of(fd)) in (ours, None)
            assert mountinfo.lists("/proc/self/mountinfo", proc.mount_id(fd)) == ours
        assert statmount.private_mount() == statmount.mount_of(memory)
    finally:
        for one in (memory, reading, writing):
            os.close(one)


@root
def test_another_namespace_holds_others(look, apart):
    """Each has its own mounts, although they show the same files."""
    there, here = look(f"/proc/{apart}/root/proc"), look("/proc")
    assert os.path.samestat(os.fstat(there), os.fstat(here))
    number = statmount.namespace_id(apart)
    if number is None:
        pytest.skip("before Linux 6.11 a mount namespace has no number")
    for mount, ours in ((statmount.mount_of(there), False), (statmount.mount_of(here), True)):
        assert statmount.held(0, mount) is ours
        assert statmount.held(number, mount) is not ours


@root
def test_nobody_holds_a_mount_that_is_mounted_nowhere():
    """Nor one that was taken away lazily."""
    detached = mounts.copy(b"/proc")
    try:
        assert statmount.held(0, statmount.mount_of(detached)) in (False, None)
        assert not mountinfo.lists("/proc/self/mountinfo", proc.mount_id(detached))
    finally:
        os.close(detached)
