"""The way to a system call."""

import ctypes
import errno
import os

import pytest

from notifyd.kernel import libc
from notifyd.kernel.arch import native

NUMBERS = native().numbers


def test_result():
    """A call's result comes back as it is."""
    assert libc.syscall(NUMBERS["getppid"]) == os.getppid()


def test_failure_is_an_oserror():
    """A failing call is the OSError of its errno, with a text."""
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
        libc.syscall(NUMBERS["close"], -1)
    assert caught.value.errno == errno.EBADF


def test_unknown_call():
    """A number that the kernel does not know is ENOSYS."""
    with pytest.raises(OSError) as caught:
        libc.syscall(5000)
    assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("value", [-1, 0, 2**31, 2**32 + 5, 2**63, 2**64 - 1])
def test_arguments_fill_a_register(stopped, value):
    """An int reaches the kernel with all of its 64 bits."""

    def work():
        libc.syscall(NUMBERS["getppid"], value)
        return 0

    assert stopped(work).notification()[6] == value % 2**64


def test_bytes_pass_their_address():
    """Bytes and ctypes objects pass where they are."""
    fd = libc.syscall(NUMBERS["openat"], -100, b"/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    buffer = ctypes.create_string_buffer(b"xxxx")
    try:
        assert libc.syscall(NUMBERS["read"], fd, buffer, 4) == 4
    finally:
        os.close(fd)
    assert buffer.raw == b"\0\0\0\0\0"


def test_fail_takes_words():
    """What could not be done may be said in other words than the system's."""
    ctypes.set_errno(errno.EXDEV)
    with pytest.raises(OSError, match="no such bridge") as caught:
        libc.fail("no such bridge")
    assert caught.value.errno == errno.EXDEV
