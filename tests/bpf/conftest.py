"""Programs in force in a child, and what the real kernel makes of them."""

import ctypes
import errno
import json
import mmap
import os
from collections.abc import Callable, Sequence

import pytest

from notifyd.bpf.program import Program
from notifyd.kernel import prctl, seccomp
from notifyd.kernel.libc import syscall

Call = tuple[str, int, Sequence[int]]

# int f(int nr, int a, int b): push rbx; eax = edi; ebx = esi; ecx = edx; int 0x80; cdqe; pop rbx
INT80 = bytes.fromhex("53 89f8 89f3 89d1 cd80 4898 5b c3")


def _in_child(work: Callable[[], object]) -> object:
    """What `work` returns in a forked child, as JSON; or the negative signal that killed it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(text) if text else status


def _i386_entry() -> Callable[..., int]:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(INT80)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    entry = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(address)

    def call(nr: int, *args: int) -> int:
        return entry(nr, *args) if not page.closed else 0  # the page must outlive the function

    return call


def _errno_of(call: Call, int80: Callable[..., int]) -> int:
    entry, nr, args = call
    if entry == "i386":
        return max(0, -int80(nr, *args))
    try:
        syscall(nr, *(ctypes.c_uint64(arg) for arg in args))
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.fixture
def kernel_says() -> Callable[[Program, Sequence[Call]], object]:
    """Put a program in force in a child; the errnos of calls made there, 0 for success.

    A call is `("native" or "i386", number, arguments)`. A child that was killed gives the negative
    signal number.
    """

    def run(program: Program, calls: Sequence[Call]) -> object:
        def work() -> list[int]:
            int80 = _i386_entry() if any(call[0] == "i386" for call in calls) else int
            prctl.set_no_new_privs()
            seccomp.install(program.to_bytes(), 0)
            return [_errno_of(call, int80) for call in calls]

        return _in_child(work)

    return run


@pytest.fixture
def kernel_takes() -> Callable[[Sequence[Program]], object]:
    """For each program, whether the kernel's checker takes it. None of them comes into force.

    A task can have one listener only, and asking for a second one is refused after the program
    was checked: EBUSY says that it was good, EINVAL that it was not.
    """

    def run(programs: Sequence[Program]) -> object:
        def takes(raw: bytes) -> bool:
            try:
                seccomp.install(raw, seccomp.FILTER_FLAG_NEW_LISTENER)
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.EINVAL):
                    return error.errno == errno.EBUSY
                raise
            raise AssertionError("a second listener was given")

        def work() -> list[bool]:
            prctl.set_no_new_privs()
            allow = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
            seccomp.install(allow, seccomp.FILTER_FLAG_NEW_LISTENER)
            return [takes(program.to_bytes()) for program in programs]

        return _in_child(work)

    return run
