"""Uses a file system, and prints what it gets.

onlyours.py FOLDER [attack]
"""

import ctypes
import errno
import glob
import os
import signal
import sys
import threading
from pathlib import Path

folder = sys.argv[1]


def tell(what, act, *args):
    try:
        said = act(*args)
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(what, said)


def read(path):
    with open(path, "rb") as file:
        return file.read(5)


def listed(path):
    return os.listdir(path)


def use():
    os.chdir("/")
    for name in ("file", "dir/file", "./dir/../file", "missing", "dir/missing"):
        path = f"{folder}/{name}"
        tell(f"read {name}", read, path)
        tell(f"stat {name}", lambda path: oct(os.stat(path).st_mode), path)
        tell(f"access {name}", os.access, path, os.R_OK)
        tell(f"chmod {name}", os.chmod, path, 0o600)
        tell(f"truncate {name}", os.truncate, path, 3)
        tell(f"unlink {name}", os.unlink, path)
        tell(f"rename {name}", os.rename, path, f"{folder}/other")
    tell("list", listed, folder)
    tell("list dir", listed, f"{folder}/dir")
    tell("readlink", os.readlink, f"{folder}/link")
    tell("mkdir", os.mkdir, f"{folder}/new")
    tell("mkdir file", os.mkdir, f"{folder}/file")
    tell("make", lambda: os.open(f"{folder}/new", os.O_CREAT | os.O_WRONLY))
    tell("statfs", lambda: os.statvfs(folder).f_bsize >= 0)
    tell("enter", os.chdir, folder)
    tell("read by cwd", read, "dir/file")
    tell("stat by cwd", lambda: oct(os.stat(".").st_mode))
    fd = os.open("." if os.getcwd() == folder else "/", os.O_RDONLY)
    tell("read by a descriptor", lambda: os.read(os.open("file", 0, dir_fd=fd), 5))
    tell("read by its own", read, f"/proc/self/fd/{fd}/file")


def others():
    """Threads of other processes than ours and our parent, with our user id throughout."""
    for path in glob.glob("/proc/[0-9]*/task/[0-9]*/status"):
        process, task = (int(path.split("/")[at]) for at in (2, 4))
        if process in (os.getpid(), os.getppid()):
            continue
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:  # it has ended
            continue
        ids = next(line for line in lines if line.startswith("Uid:")).split()[1:]
        if set(ids) == {str(os.getuid())}:
            yield process, task


def attack():
    """Find who opens for us, and try to look into it, to stop and to kill it."""
    got = []

    def opens():
        try:
            os.stat(f"{folder}/slow")
        except OSError as error:
            got.append(errno.errorcode[error.errno])

    thread = threading.Thread(target=opens, daemon=True)
    thread.start()
    victims = []
    while not victims:
        victims = list(others())
    process, task = victims[0]
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("mem", "maps", "environ", "fd", "cwd", "root", "exe"):
        tell(
            name,
            lambda path: bool(os.open(path, os.O_RDONLY)),
            f"/proc/{process}/task/{task}/{name}",
        )
    for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        tell("trace", lambda request: libc.ptrace(request, task, 0, 0) == 0, request)
    os.kill(task, signal.SIGSTOP)
    tell("others go on", read, f"{folder}/file")
    os.kill(task, signal.SIGKILL)
    tell("and it ends", read, f"{folder}/go")
    thread.join()
    print("slow", *got)
    for _ in range(3):
        tell("read", read, f"{folder}/file")
    print("left", len(list(others())))


attack() if sys.argv[2:] else use()
