"""Tries every way to a terminal: reach_terminal.py TERMINAL PID DIRECTORY.

PID has it open, and is no descendant. What came of each is in DIRECTORY/came.
"""

import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
person, outsider, where = sys.argv[1], int(sys.argv[2]), sys.argv[3]
came = {}


def attempt(name, act):
    try:
        found = act()
        failed = isinstance(found, int) and found < 0
        came[name] = os.strerror(ctypes.get_errno()) if failed else "done"
    except OSError as error:
        came[name] = error.strerror


R = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK
attempt("by name", lambda: os.open(person, R))
attempt("read only", lambda: os.open(person, os.O_RDONLY | os.O_NOCTTY))
attempt("made", lambda: os.open(person, R | os.O_CREAT, 0o600))
pts = os.open("/dev/pts", os.O_RDONLY)
attempt("relative", lambda: os.open(os.path.basename(person), R, dir_fd=pts))


def linked():
    os.symlink(person, where + "/link")
    return os.open(where + "/link", R)


attempt("by a link", linked)


def reopened():
    place = os.open(person, os.O_PATH)
    return os.open(f"/proc/self/fd/{place}", R)


attempt("by a place", reopened)


def openat2():
    how = struct.pack("3Q", R, 0, 0)
    return libc.syscall(437, -100, person.encode(), how, len(how))


attempt("openat2", openat2)


def foreign():
    """The number that the terminal has in the process outside."""
    for fd in os.listdir(f"/proc/{outsider}/fd"):
        if os.readlink(f"/proc/{outsider}/fd/{fd}") == person:
            return fd
    raise ProcessLookupError


attempt("by another process", lambda: os.open(f"/proc/{outsider}/fd/{foreign()}", R))
attempt("taken", lambda: libc.syscall(438, os.pidfd_open(outsider), int(foreign()), 0))
if os.getuid() == 0:

    def elsewhere(script):
        words = ["unshare", "-m", "sh", "-ec", script]
        return -bool(subprocess.run(words, stderr=subprocess.DEVNULL).returncode)

    device = os.stat(person).st_rdev
    node = f"mknod {where}/node c {os.major(device)} {os.minor(device)}"
    mount = f"touch {where}/on; mount --bind {person} {where}/on"
    attempt(
        "by a node", lambda: elsewhere(f"mount -t tmpfs t {where}; {node}; exec 3<>{where}/node")
    )
    attempt("by a mount", lambda: elsewhere(f"{mount}; exec 3<>{where}/on"))
    attempt("a console", lambda: os.open("/dev/tty1", R))


def traced():
    failed = libc.ptrace(16, outsider, 0, 0)
    if not failed:
        os.waitpid(outsider, 0x40000000)
        libc.ptrace(17, outsider, 0, 0)
    return failed


attempt("traced", traced)


def above():
    """Memory of those who started it, up to the outsider."""
    pid = os.getppid()
    while pid not in (0, 1):
        os.open(f"/proc/{pid}/mem", os.O_RDWR)
        if pid == outsider:
            break
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


attempt("memory of another", lambda: os.open(f"/proc/{outsider}/mem", os.O_RDWR))
if os.getuid():
    attempt("memory above", above)
attempt("io_uring", lambda: libc.syscall(425, 1, ctypes.create_string_buffer(120)))
attempt("typing", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
own = {}
came, ways = own, came
attempt("its own", lambda: os.open(os.ttyname(0), R))
attempt("/dev/tty", lambda: os.open("/dev/tty", R))


def another():
    _, slave = os.openpty()
    return os.open(os.ttyname(slave), R)


attempt("a new one", another)


def child():
    words = ["script", "-qec", "tty", "/dev/null"]
    return -bool(subprocess.run(words, stdout=subprocess.DEVNULL).returncode)


attempt("a new one in a child", child)
attempt("its own memory", lambda: os.open("/proc/self/mem", os.O_RDWR))
attempt("/dev/null", lambda: os.open("/dev/null", R))
Path(where, "came").write_text(json.dumps([ways, own]))
