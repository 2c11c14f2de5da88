"""Reaches a place in another view of the files, and does things there.

    ways.py WAY DEED,... PID PLACE

PLACE is absolute and a directory; descriptor 9 is of it, or of a mount of it.

Prints for each deed `ok` and what it found, or the name of the errno.
"""

import errno
import os
import socket
import sys

way, deeds, pid, place = sys.argv[1:]
name = os.path.basename(place)
at, head = None, ""
if way == "root":
    head = f"/proc/{pid}/root{place}/"
elif way == "cwd":
    head = f"/proc/{pid}/cwd/"
elif way == "fd":
    head = f"/proc/{pid}/fd/9/"
elif way == "task":
    head = f"/proc/{pid}/task/{pid}/root{place}/"
elif way == "up":  # back and forth, through what is ours
    head = f"/proc/self/../{pid}/root/proc/../{place}/../{name}/"
elif way == "link":
    os.symlink(f"/proc/{pid}/root{place}", "link")
    head = "link/"
elif way == "chdir":
    os.chdir(f"/proc/{pid}/root{place}")
elif way == "fchdir":
    os.fchdir(9)
elif way == "dirfd":
    at = 9
elif way == "own-fd":
    head = "/proc/self/fd/9/"
elif way == "dev-fd":
    head = "/dev/fd/9/"
elif way == "own-cwd":
    os.chdir(place)
    head = "/proc/self/cwd/"
elif way == "own-root":
    head = f"/proc/self/root{place}/"
elif way == "chroot":
    os.chroot(f"/proc/{pid}/root")
    head = place + "/"
elif way == "here":
    head = place + "/"
elif way == "relative":
    os.chdir(place)
else:
    raise SystemExit(f"no such way: {way}")


def opened(name, flags=os.O_RDONLY):
    return os.open(head + name, flags, dir_fd=at)


both = {"src_dir_fd": at, "dst_dir_fd": at}
DEEDS = {
    "open": lambda: os.read(opened("file"), 99).decode(),
    "stat": lambda: os.stat(head + "file", dir_fd=at).st_size,
    "make": lambda: os.close(opened("new", os.O_CREAT | os.O_WRONLY)),
    "mkdir": lambda: os.mkdir(head + "dir", dir_fd=at),
    "symlink": lambda: os.symlink("text", head + "third", dir_fd=at),
    "link": lambda: os.link(head + "file", head + "second", **both),
    "unlink": lambda: os.unlink(head + "second", dir_fd=at),
    "chmod": lambda: os.chmod(head + "file", 0o640, dir_fd=at),
    "fchmod": lambda: os.fchmod(9, 0o750),
    "truncate": lambda: os.truncate(head + "file", 1),
    "rename": lambda: os.rename(head + "file", head + "moved", **both),
    "connect": lambda: socket.socket(socket.AF_UNIX).connect(head + "socket"),
    "exec": lambda: os.execv(head + "program", ["program"]),
}
for one in deeds.split(","):
    try:
        sys.stdout.flush()
        found = DEEDS[one]()
        print("ok" if found is None else f"ok {found}")
    except OSError as error:
        print(errno.errorcode[error.errno])
