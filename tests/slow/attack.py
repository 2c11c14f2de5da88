"""Has a supervisor touch what a server of files withholds.

    attack.py KIND FOLDER

Prints `ready`, waits for a byte on standard input, prints `begins`, and `ends ERRNO` if the call
comes back.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.syscall.restype = ctypes.c_long
PAGE = 4096
EXECVEAT, EMPTY_PATH = 322, 0x1000
USERFAULTFD, API, REGISTER = 323, 0xC018AA3F, 0xC020AA00
INET = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(9), bytes([127, 0, 0, 1]))

kind, folder = sys.argv[1:]


def name(of: str) -> str:
    """A file in the folder."""
    return f"{folder}/{of}"


def page(of: str, *, shared: bool = True) -> ctypes.c_void_p:
    """A page of a file that is not there yet."""
    descriptor = os.open(name(of), os.O_RDWR)
    return ctypes.c_void_p(LIBC.mmap(None, PAGE, 3, 1 if shared else 2, descriptor, 0))


def missing() -> ctypes.c_void_p:
    """A page behind a userfaultfd that nobody serves."""
    fd = LIBC.syscall(USERFAULTFD, 1)  # UFFD_USER_MODE_ONLY is 1: no privilege
    if fd < 0:
        fd = LIBC.syscall(USERFAULTFD, 0)
    assert fd >= 0, ctypes.get_errno()
    fcntl.ioctl(fd, API, struct.pack("=QQQ", 0xAA, 0, 0))
    where = LIBC.mmap(None, PAGE, 3, 0x22, -1, 0)
    fcntl.ioctl(fd, REGISTER, struct.pack("=QQQQ", where, PAGE, 1, 0))
    return ctypes.c_void_p(where)


def written_back() -> ctypes.c_void_p:
    """A page of a file that is on its way to the server: who writes to it waits for that.

    It is sent after the first byte on standard input.
    """
    where = page("write")
    ctypes.memset(where, 65, 1)
    print("ready", flush=True)
    os.read(0, 1)
    threading.Thread(target=LIBC.msync, args=(where, PAGE, 4), daemon=True).start()
    return where


def sent() -> int:
    """Send a descriptor of a file to somebody, at an address."""
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.bind("\0slow-" + str(os.getpid()))
    here = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    rights = array.array("i", [os.open(name("flush"), os.O_RDONLY)])
    here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, there.getsockname())
    return 0


Call = Callable[[], int]


def called(function: Callable[..., int], *args: object) -> Call:
    """A call of the C library, with its arguments made beforehand."""
    return lambda: function(*args)


def opened(of: str) -> int:
    """A file of the folder, opened natively or as the rules have it, while all is answered."""
    return os.open(name(of), os.O_RDONLY)


def by_path(function: Callable[..., int], of: str, *args: object) -> Call:
    """A call on a name; what it leads to is in the kernel's cache, but for what is looked up."""
    if of != "lookup":
        os.lstat(name(of))
    return called(function, name(of).encode(), *args)


def executed(of: str) -> Call:
    """An execve of a name."""
    nothing = (ctypes.c_char_p * 2)(b"x", None)
    return by_path(LIBC.execve, of, nothing, nothing)


def executed_by_descriptor() -> Call:
    """An execveat of a descriptor."""
    fd, nothing = opened("flush"), (ctypes.c_char_p * 2)(b"x", None)
    return called(LIBC.syscall, EXECVEAT, fd, b"", nothing, nothing, EMPTY_PATH)


def linked() -> Call:
    """A stat by a link elsewhere."""
    os.lstat(name("statfs"))
    link = f"/tmp/slow-{os.getpid()}"
    os.symlink(name("statfs"), link)
    return called(stat_and_unlink, link.encode())


def stat_and_unlink(link: bytes) -> int:
    """A stat that leaves no link behind."""
    found: int = LIBC.stat(link, room)
    os.unlink(link)
    return found


def at_another_root() -> Call:
    """An open from a root directory that is served."""
    os.chroot(name("getattrdir"))
    return called(LIBC.open, b"/etc/passwd", os.O_RDONLY)


def received() -> Call:
    """A page of a file of a server that nobody here can see: its descriptor was sent."""
    with socket.socket(fileno=os.dup(0)) as there:
        (descriptor,) = socket.recv_fds(there, 1, 1)[1]
    where = LIBC.mmap(None, PAGE, 1, 1, descriptor, 0)
    return called(LIBC.open, ctypes.c_void_p(where), os.O_RDONLY)


def connected(address: object) -> Call:
    """A connect to an address."""
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return called(LIBC.connect, there.detach(), address, 16)


room = ctypes.create_string_buffer(256)
PREPARED: dict[str, Callable[[], Call]] = {
    "lookup": lambda: by_path(LIBC.stat, "lookup", room),
    "getattr": lambda: by_path(LIBC.stat, "getattr", room),
    "statfs": lambda: by_path(LIBC.statfs, "statfs", room),
    "open": lambda: by_path(LIBC.open, "open", os.O_RDONLY),
    "flush": lambda: by_path(LIBC.open, "flush", os.O_RDONLY),
    "release": lambda: by_path(LIBC.open, "release", os.O_RDONLY),
    "flush-mode": lambda: called(LIBC.fchmod, opened("flush"), 0o600),
    "flush-connect": lambda: called(LIBC.connect, opened("flush"), INET, len(INET)),
    "flush-sent": lambda: sent,
    "flush-exec": executed_by_descriptor,
    "read-path": lambda: called(LIBC.open, page("read"), os.O_RDONLY),
    "read-received": received,
    "read-address": lambda: connected(page("read")),
    "read-arguments": lambda: called(LIBC.execve, b"/nowhere", page("read"), None),
    "read-buffer": lambda: called(LIBC.stat, b"/etc/passwd", page("read")),
    "read-exec": lambda: executed("read"),
    "getattr-exec": lambda: executed("getattr"),
    "getattr-root": at_another_root,
    "readlink": lambda: by_path(LIBC.readlink, "readlink", room, 256),
    "readlink-through": lambda: (
        os.lstat(name("readlink")),
        called(LIBC.open, (name("readlink") + "/x").encode(), os.O_RDONLY),
    )[1],
    "statfs-linked": linked,
    "write-buffer": lambda: called(LIBC.stat, b"/etc/passwd", written_back()),
    "missing": lambda: called(LIBC.open, missing(), os.O_RDONLY),
}

call = PREPARED[kind]()
print("ready", flush=True)
os.read(0, 1)
print("begins", flush=True)
ctypes.set_errno(0)
result = call()
error = ctypes.get_errno()
print("ends", errno.errorcode.get(error, 0) if result == -1 else 0, flush=True)
time.sleep(3600)  # what is open stays so
