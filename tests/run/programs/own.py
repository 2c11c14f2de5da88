"""Opens and asks about what is its own below several /proc, and prints what it gets.

own.py HOW: what it does to itself before.
"""

import ctypes
import errno
import os
import socket
import stat
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
how = sys.argv[1]
fd = os.open("mine", os.O_RDWR | os.O_CREAT, 0o666)
os.fchmod(fd, 0o666)
os.symlink("mine", "link") if not os.path.lexists("link") else None
os.chmod(".", 0o777)
proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
if how == "setuid":
    os.fchown(fd, 1000, 1000)
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
elif how == "seteuid":
    os.setresgid(-1, 1000, -1)
    os.setresuid(-1, 1000, -1)
elif how == "prctl":
    libc.prctl(4, 0, 0, 0, 0)
elif how == "namespace":
    libc.prctl(4, 0, 0, 0, 0)
    assert libc.unshare(0x10000000) == 0
elif how == "mount namespace":
    assert libc.unshare(0x20000) == 0
elif how == "both":
    assert libc.unshare(0x20000) == 0
    os.setresuid(1000, 1000, 1000)
elif how == "procs":
    assert libc.unshare(0x20000) == 0
    libc.mount(b"none", b"/", None, 0x44000, None)
    assert libc.mount(b"proc", b"/mnt", b"proc", 0, None) == 0
    assert libc.mount(b"/proc/self", b"/media", None, 0x1000, None) == 0
me = os.getpid()


def tell(what, act, *args):
    try:
        said = act(*args)
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(what, str(said).replace(str(me), "PID"))


def opened(path, flags=os.O_RDONLY, **more):
    found = os.open(path, flags, **more)
    try:
        kind = stat.S_IFMT(os.fstat(found).st_mode)
        return f"{kind:o}", os.path.basename(os.readlink(f"/dev/fd/{found}"))
    finally:
        os.close(found)


def listed(path, **more):
    found = os.open(path, os.O_RDONLY | os.O_DIRECTORY, **more)
    try:
        return sorted(set(os.listdir(found)) & {"0", "1", "2", str(fd), str(me), "maps"})
    finally:
        os.close(found)


def listed_by(path):
    return listed("fd", dir_fd=os.open(path, os.O_RDONLY))


def first(path, size=4, **more):
    found = os.open(path, os.O_RDONLY, **more)
    try:
        return len(os.read(found, size))
    finally:
        os.close(found)


FILES = "maps smaps auxv environ status stat comm mountinfo limits io cmdline statm mem"
FILES += " pagemap"


def everything(me, tops):
    for top in tops:
        base = f"{top}/{me}" if top != "/media" else top
        for name in (f"fd/{fd}", "fd/0", "cwd/mine", "exe", "root/etc/passwd", "cwd/link", "fd/77"):
            tell(f"open {name}", opened, f"{base}/{name}")
        for name in (*FILES.split(), f"fdinfo/{fd}"):
            tell(f"read {name}", first, f"{base}/{name}")
        tell("write comm", opened, f"{base}/comm", os.O_WRONLY)
        tell("write mem", opened, f"{base}/mem", os.O_RDWR)
        tell("write fd", opened, f"{base}/fd/{fd}", os.O_RDWR)
        tell("make", opened, f"{base}/cwd/made", os.O_RDWR | os.O_CREAT)
        tell("make fd", opened, f"{base}/fd/{fd}", os.O_RDWR | os.O_CREAT)
        for name in ("exe", "cwd", f"fd/{fd}", "root", "ns/net", "fd/77"):
            tell(f"readlink {name}", os.readlink, f"{base}/{name}")
            tell(f"lstat {name}", lambda path: oct(os.lstat(path).st_mode), f"{base}/{name}")
            tell(f"stat {name}", lambda path: oct(os.stat(path).st_mode), f"{base}/{name}")
        for name in ("fd", "task", ".", "fdinfo"):
            tell(f"list {name}", listed, f"{base}/{name}")
        tell("chmod", os.chmod, f"{base}/fd/{fd}", 0o666)
        tell("truncate", os.truncate, f"{base}/cwd/mine", 3)
        tell("mkdir", os.mkdir, f"{base}/cwd/none/x")
        tell("access", os.access, f"{base}/cwd/mine", os.R_OK)
        tell("up", opened, f"{base}/fd/../comm")
        tell("list by a descriptor", listed_by, base)


tops = ["/proc"]
if how == "procs":
    tops += ["/mnt", "/media"]
elif os.path.exists("/mnt/self/comm") or os.path.exists("/mnt/1/comm"):
    tops += ["/mnt"]
everything("self", tops)
everything(me, ["/proc"])
everything("thread-self", ["/proc"])
tell("in proc", lambda: opened("self/comm", dir_fd=proc))
tell("in proc fd", lambda: opened(f"self/fd/{fd}", dir_fd=proc))
tell("in proc number", lambda: opened(f"{me}/fd/{fd}", dir_fd=proc))
tell("in proc thread", lambda: first("thread-self/maps", dir_fd=proc))
tell("in proc link", lambda: os.readlink("self", dir_fd=proc))
tell("link", os.readlink, "/proc/self")
tell("thread link", os.readlink, "/proc/thread-self")
tell("stdin", opened, "/dev/stdin")
tell("dev fd", opened, f"/dev/fd/{fd}")
tell("dev fd, list", listed, "/dev/fd")
for other in (1, os.getppid()):
    for name in ("maps", "fd", "fd/0", "cwd", "environ", "mem"):
        tell(f"other {name}", lambda path: opened(path)[0], f"/proc/{other}/{name}")
there = socket.socket(socket.AF_UNIX)
os.path.exists("sock") and os.unlink("sock")
tell("bind", there.bind, "/proc/self/cwd/sock")
there.listen()
tell("connect", socket.socket(socket.AF_UNIX).connect, "/proc/self/cwd/sock")
tell("connect", socket.socket(socket.AF_UNIX).connect, f"/proc/{me}/cwd/sock")

if how != "namespace":
    thread = threading.Thread(target=everything, args=("thread-self", ["/proc"]))
    thread.start(), thread.join()
sys.stdout.flush()
