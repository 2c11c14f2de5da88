"""process_vm_readv(2) and process_vm_writev(2) on a child's memory."""

import ctypes
import errno
import mmap
import os
import signal
import threading

import pytest

from notifyd.kernel import process_vm
from notifyd.kernel.libc import LIBC
from notifyd.kernel.process_vm import PAGE_SIZE


@pytest.fixture(scope="module")
def pages():
    """Three pages of which the child has only the first two, as (pid, address)."""
    memory = mmap.mmap(-1, 3 * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    hold = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(hold)
    memory[:] = b"a" * (3 * PAGE_SIZE)
    ready, say = os.pipe()
    pid = os.fork()
    if not pid:
        LIBC.munmap(ctypes.c_void_p(address + 2 * PAGE_SIZE), ctypes.c_size_t(PAGE_SIZE))
        os.write(say, b"!")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    yield pid, address
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for fd in (ready, say):
        os.close(fd)
    del hold


def fault(call, *arguments):
    """Return the errno that a call fails with."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return caught.value.errno


SIZES = [0, 1, 100, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE]


@pytest.mark.parametrize("size", SIZES)
def test_write_then_read(pages, size):
    """What was written is read back, whatever the size."""
    pid, address = pages
    data = os.urandom(size)
    process_vm.write(pid, address, data)
    assert process_vm.read(pid, address, size) == data
    assert process_vm.read_some(pid, address, size) == data


@pytest.mark.parametrize("size", [1, 10, PAGE_SIZE, 3 * PAGE_SIZE])
def test_read_is_all_or_nothing(pages, size):
    """A read that reaches an unmapped page is EFAULT."""
    pid, address = pages
    assert fault(process_vm.read, pid, address + 2 * PAGE_SIZE - size + 1, size) == errno.EFAULT


def test_read_some_stops_at_the_hole(pages):
    """A read that may be short ends where the mapping ends."""
    pid, address = pages
    process_vm.write(pid, address, b"b" * (2 * PAGE_SIZE))
    assert process_vm.read_some(pid, address + PAGE_SIZE - 5, 3 * PAGE_SIZE) == b"b" * (
        PAGE_SIZE + 5
    )
    assert fault(process_vm.read_some, pid, address + 2 * PAGE_SIZE, 10) == errno.EFAULT


def test_write_into_the_hole(pages):
    """A write that reaches an unmapped page is EFAULT."""
    pid, address = pages
    assert fault(process_vm.write, pid, address + 2 * PAGE_SIZE - 5, b"123456") == errno.EFAULT


@pytest.mark.parametrize(
    "length", [0, 1, 254, 255, 256, 257, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 300]
)
@pytest.mark.parametrize("start", [0, 1, PAGE_SIZE - 1, PAGE_SIZE - 256])
def test_strings(pages, start, length):
    """A string of any length at any place in a page comes whole and without its NUL."""
    pid, address = pages
    if start + length + 1 > 2 * PAGE_SIZE:
        length = 2 * PAGE_SIZE - start - 1
    process_vm.write(pid, address, b"z" * (2 * PAGE_SIZE))
    process_vm.write(pid, address + start, b"x" * length + b"\0")
    assert process_vm.read_string(pid, address + start, 2 * PAGE_SIZE) == b"x" * length


def test_string_that_ends_with_the_mapping(pages):
    """The page after the one with the NUL is never touched."""
    pid, address = pages
    process_vm.write(pid, address + 2 * PAGE_SIZE - 4, b"end\0")
    assert process_vm.read_string(pid, address + 2 * PAGE_SIZE - 4, 4096) == b"end"


def test_string_without_end(pages):
    """A string that runs into an unmapped page is EFAULT."""
    pid, address = pages
    process_vm.write(pid, address + PAGE_SIZE, b"y" * PAGE_SIZE)
    for start in (2 * PAGE_SIZE - 4, 2 * PAGE_SIZE - 300, PAGE_SIZE):
        assert fault(process_vm.read_string, pid, address + start, 3 * PAGE_SIZE) == errno.EFAULT


@pytest.mark.parametrize("limit", [1, 3, 256, 257, 300])
def test_string_limit_counts_the_nul(pages, limit):
    """A string of limit bytes with its NUL is read; one more is ENAMETOOLONG."""
    pid, address = pages
    process_vm.write(pid, address, b"n" * (limit - 1) + b"\0")
    assert process_vm.read_string(pid, address, limit) == b"n" * (limit - 1)
    process_vm.write(pid, address, b"n" * limit + b"\0")
    assert fault(process_vm.read_string, pid, address, limit) == errno.ENAMETOOLONG


def test_old_bytes_are_no_part_of_a_string(pages):
    """What an earlier, longer read left behind never shows."""
    pid, address = pages
    process_vm.write(pid, address, b"a" * 200 + b"\0" + b"b" * 100)
    process_vm.read_string(pid, address, 300)
    process_vm.write(pid, address + 2 * PAGE_SIZE - 10, b"c" * 10)
    assert (
        fault(process_vm.read_string, pid, address + 2 * PAGE_SIZE - 10, 10) == errno.ENAMETOOLONG
    )


@pytest.mark.parametrize("address", [0, 1, 2**47, 2**63, 2**64 - PAGE_SIZE, 2**64 - 1, 2**64])
def test_wild_addresses(pages, address):
    """Addresses that no process has are EFAULT for every function."""
    pid, _ = pages
    assert fault(process_vm.read, pid, address, 8) == errno.EFAULT
    assert fault(process_vm.read, pid, address, 2 * PAGE_SIZE) == errno.EFAULT
    assert fault(process_vm.read_some, pid, address, 8) == errno.EFAULT
    assert fault(process_vm.read_string, pid, address, 4096) == errno.EFAULT
    assert fault(process_vm.write, pid, address, b"12345678") == errno.EFAULT


def test_nobody_there():
    """A thread that does not exist is ESRCH."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        process_vm.read(pid, 4096, 8)
    with pytest.raises(ProcessLookupError):
        process_vm.read_string(pid, 4096, 8)
    with pytest.raises(ProcessLookupError):
        process_vm.write(pid, 4096, b"x")


def test_threads_do_not_share_buffers():
    """Many threads reading at once each get their own strings."""
    wrong = []

    def reader(text):
        buffer = ctypes.create_string_buffer(text)
        address = ctypes.addressof(buffer)
        strings = {process_vm.read_string(os.getpid(), address, 256) for _ in range(300)}
        wrong.extend(strings - {text})

    threads = [threading.Thread(target=reader, args=(bytes([65 + n]) * 50,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
