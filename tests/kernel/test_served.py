"""What the kernel tells of files without asking whoever serves them."""

import ctypes
import mmap
import os

import pytest

from notifyd.kernel import files, mountinfo, process_vm, statmount
from notifyd.kernel.mountinfo import _Mounted


@pytest.mark.parametrize("path", ["/", "/proc", "/sys", "/dev"])
def test_the_type_of_a_mount_is_that_of_statfs(path):
    """By the mount's number, where the kernel tells by it (Linux 6.8)."""
    fd = os.open(path, os.O_PATH)
    kind = statmount.kind(0, statmount.mount_of(fd))
    assert kind is None or kind == (files.filesystem(fd), True)
    assert statmount.file_of(fd) == (os.fstat(fd).st_dev, os.fstat(fd).st_ino)
    assert statmount.mode_and_mount(fd) == (os.fstat(fd).st_mode, statmount.mount_of(fd))
    os.close(fd)


def test_no_mount_has_no_type():
    """Nor has one that is in another namespace."""
    assert statmount.kind(0, 1) is None
    assert statmount.kind(1, statmount.own_root().mount) is None


OVERLAY = b"45 1 0:33 / /merged rw - overlay overlay rw,lowerdir=%s,upperdir=/up,workdir=/work\n"


@pytest.mark.parametrize(
    ("lower", "served"),
    [
        (b"/low:/other", False),
        (b"/low:/net/files", True),
        (b"/net", True),
        (b"/network", False),
        (b"l/RELATIVE:l/NAMES", False),
        (rb"/a\\040b:/net/x", True),
    ],
)
def test_an_overlay_asks_its_layers(lower, served):
    """One with a layer that somebody serves is not this kernel's alone."""
    mounted = _Mounted.of(OVERLAY % lower)
    assert (mounted.kind, mounted.point) == (b"overlay", b"/merged")
    assert mounted.lies_on([b"/net"]) is served


def test_local_devices_have_no_served_ones():
    """The root of a test is local; /proc is nobody's disk."""
    local = mountinfo.LocalDevices()
    assert (os.stat("/proc").st_dev in local) is False
    assert isinstance(mountinfo.has_served(), bool)


def test_a_page_is_there_once_it_is_touched():
    """Neither a page that was not, nor what no process can have."""
    memory = mmap.mmap(-1, 4 * process_vm.PAGE_SIZE)
    start = ctypes.addressof(view := ctypes.c_char.from_buffer(memory))
    second = start + 2 * process_vm.PAGE_SIZE
    assert not process_vm.is_there(os.getpid(), second)
    memory[2 * process_vm.PAGE_SIZE] = 1
    assert process_vm.is_there(os.getpid(), second + 7)
    assert not process_vm.is_there(os.getpid(), (1 << 64) - 1)
    assert not process_vm.is_there(1 << 22, second)
    del view
    memory.close()
