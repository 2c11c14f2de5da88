"""Has a supervisor touch what a server of files withholds.    attack.py KIND FOLDER

Prints `ready`, waits for a byte on standard input, prints `begins`, and `ends ERRNO` if the call
comes back.
"""

from __future__ import annotations

import array
import ctypes
import errno
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
    import fcntl

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


def called(function: Callable[..., int], *args: object) -> Callable[[], int]:
    """A call of the C library, with its arguments made beforehand."""
    return lambda: function(*args)


def prepared() -> Callable[[], int]:
    """The call, ready to be made."""
    if kind in ("lookup", "getattr", "statfs", "open"):
        path = ctypes.create_string_buffer(os.fsencode(name(kind)))
        if kind in ("getattr", "statfs"):
            os.open(name(kind), os.O_PATH)  # it is in the cache
        buffer = ctypes.create_string_buffer(256)
        if kind == "open":
            return called(LIBC.open, path, os.O_RDONLY)
        if kind == "statfs":
            return called(LIBC.statfs, path, buffer)
        return called(LIBC.stat, path, buffer)
    if kind == "flush":
        return called(LIBC.open, name("flush").encode(), os.O_RDONLY)
    if kind == "release":
        return called(LIBC.open, name("release").encode(), os.O_RDONLY)
    if kind == "flush-mode":
        return called(LIBC.fchmod, os.open(name("flush"), os.O_RDONLY), 0o600)
    if kind == "flush-connect":
        return called(LIBC.connect, os.open(name("flush"), os.O_RDONLY), INET, len(INET))
    if kind == "flush-sent":
        return sent
    if kind == "flush-exec":
        fd, nothing = os.open(name("flush"), os.O_RDONLY), (ctypes.c_char_p * 2)(b"x", None)
        return called(LIBC.syscall, EXECVEAT, fd, b"", nothing, nothing, EMPTY_PATH)
    if kind == "read-path":
        return called(LIBC.open, page("read"), os.O_RDONLY)
    if kind == "read-received":  # of a server that nobody here can see
        with socket.socket(fileno=os.dup(0)) as there:
            (descriptor,) = socket.recv_fds(there, 1, 1)[1]
        where = LIBC.mmap(None, PAGE, 1, 1, descriptor, 0)
        return called(LIBC.open, ctypes.c_void_p(where), os.O_RDONLY)
    if kind == "read-address":
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return called(LIBC.connect, there.fileno(), page("read"), 16)
    if kind == "read-arguments":
        return called(LIBC.execve, b"/bin/true", page("read"), None)
    if kind == "read-buffer":
        return called(LIBC.stat, b"/etc/passwd", page("read"))
    if kind == "read-exec":
        os.open(name("read"), os.O_PATH)
        nothing = (ctypes.c_char_p * 2)(b"x", None)
        return called(LIBC.execve, name("read").encode(), nothing, nothing)
    if kind == "getattr-exec":
        os.open(name("getattr"), os.O_PATH)
        nothing = (ctypes.c_char_p * 2)(b"x", None)
        return called(LIBC.execve, name("getattr").encode(), nothing, nothing)
    if kind == "getattr-root":
        os.chroot(name("getattrdir"))
        return called(LIBC.open, b"/etc/passwd", os.O_RDONLY)
    if kind in ("readlink", "readlink-through", "statfs-linked"):
        os.lstat(name("readlink"))  # it is in the cache
        buffer = ctypes.create_string_buffer(256)
        if kind == "readlink":
            return called(LIBC.readlink, name("readlink").encode(), buffer, 256)
        if kind == "readlink-through":
            return called(LIBC.open, (name("readlink") + "/x").encode(), os.O_RDONLY)
        os.open(name("statfs"), os.O_PATH)
        link = f"/tmp/slow-{os.getpid()}"
        os.symlink(name("statfs"), link)
        return called(LIBC.stat, link.encode(), buffer)
    if kind == "write-buffer":
        return called(LIBC.stat, b"/etc/passwd", written_back())
    if kind == "missing":
        return called(LIBC.open, missing(), os.O_RDONLY)
    raise SystemExit(f"no {kind}")


call = prepared()
print("ready", flush=True)
os.read(0, 1)
print("begins", flush=True)
ctypes.set_errno(0)
result = call()
error = ctypes.get_errno()
print("ends", errno.errorcode.get(error, 0) if result == -1 else 0, flush=True)
time.sleep(3600)  # what is open stays so
