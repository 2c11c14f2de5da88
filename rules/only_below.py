"""Only below: a program has the files below the directories given, and no others.

    notifyd run --rules only-below --option allow=$PWD -- python3 plugin.py

Places in `allow` may be read and written, places in `read` only read. What programs need to start
can be read too: the system's directories, the command itself, and the virtual environment or pyenv
that the command, or the Python on its PATH, belongs to. `only-read`, given once, replaces all of
that. Of /proc, a program can read what is about itself, except the lists of mounts and of the
network.

Everything else gets EACCES, whichever way the path leads there (links, `..`, /proc/self/root):
opening, executing, asking, sockets, and POSIX message queues, which are files of /dev/mqueue.
Refused outright: mounts, lists of mounts, chroot, tracing, file handles, devices, io_uring,
watching (inotify), datagrams, typing into the terminal.

What it does not hold: a file that is open when the program starts stays open. What has no path is
not a file: abstract sockets, the network, System V's queues and shared memory. The kernel runs the
interpreter that a script or program names wherever it lies. chdir(2) is free: it tells whether a
directory is there, and core dumps go there.
"""

import errno
import os
from pathlib import PurePosixPath
from socket import AF_UNIX, SOCK_DGRAM, SOCK_RAW

import notifyd
from notifyd import Access, Allow, Call, Deny, Open, always, existing, has, on, option
from notifyd.rulekit import files


def place(text: str) -> PurePosixPath:
    """An absolute path with no symbolic link in it, as `call.path` is; it has to be there."""
    if text.startswith("/proc/"):
        raise ValueError("what lies in /proc depends on who looks")
    return existing(text)


ALLOW = option("allow", (), convert=place, summary="a directory to read and write, or a file")
READ = option("read", (), convert=place, summary="a directory to read as well, or a file")
ONLY_READ = option(
    "only-read",
    (*files.SYSTEM_PLACES, *notifyd.command_places(writable=ALLOW)),
    convert=place,
    summary="what to read instead of the system's directories and those of the command",
)

WRITABLE = frozenset(ALLOW)
READABLE = frozenset((*ALLOW, *READ, *ONLY_READ))
ABOVE = frozenset(parent for one in READABLE for parent in one.parents)
MAX_DEPTH = max((len(one.parts) for one in READABLE), default=1)  # no place is deeper

MESSAGE_QUEUES = PurePosixPath("/dev/mqueue")
S_IFCHR = 0o20000  # a block device has this bit too

# Operations that tell about a file without opening it. What lies on the way may be asked about.
ASKING = (notifyd.Stat, Access, notifyd.ReadLink, notifyd.GetXattr, notifyd.ListXattr)
# Operations that take a path or a descriptor. What is open is open: only paths are judged.
BY_FD = (notifyd.Stat, notifyd.StatFs, notifyd.GetXattr, notifyd.ListXattr, notifyd.Truncate)
BY_PATH = [one for one in notifyd.PATH_OPERATIONS if one not in BY_FD]

REFUSED = Deny(errno.EPERM)
always(REFUSED, *notifyd.BYPASSES)
always(REFUSED, notifyd.Raw("inotify_add_watch", "file_getattr", "statmount", "listmount"))
always(REFUSED, notifyd.Ioctl, request=notifyd.FILE_REQUESTS)
always(REFUSED, notifyd.Mknod, mode=has(S_IFCHR))
# Every datagram can name another receiver, in a call that this file does not look at.
always(Deny(errno.EACCES), notifyd.Socket, family=AF_UNIX, type={SOCK_DGRAM, SOCK_RAW})
if WRITABLE.isdisjoint((MESSAGE_QUEUES, *MESSAGE_QUEUES.parents)):
    always(Deny(errno.EACCES), notifyd.MessageQueue)


def is_listed(path: PurePosixPath, places: frozenset[PurePosixPath]) -> bool:
    """Whether a path is one of the places, or below one. A long path has no more parents."""
    return not places.isdisjoint((path, *path.parents[-MAX_DEPTH:]))


def is_own_stream(call: Call, path: PurePosixPath) -> bool:
    """Whether it is a pipe or a terminal that the program has open already."""
    has_no_place = not path.is_absolute() or path.is_relative_to("/dev/pts")
    looks = isinstance(call, (Open, *ASKING))
    return has_no_place and looks and files.names_own_descriptor(call.pathname)


def is_free(call: Call, path: PurePosixPath) -> bool:
    """Whether a path may be read without being listed."""
    if isinstance(call, ASKING) and (path in ABOVE or path in files.SELF_LINKS):
        return True
    return files.is_own_proc(call, path)


def refusal(path: PurePosixPath, option: str) -> Deny:
    """The reason says which option is missing. /proc can only be listed as a whole."""
    needed = "/proc" if path.is_relative_to("/proc") else path
    return Deny(
        errno.EACCES, reason=f"{path} is not on the list: --option {option}={needed} adds it"
    )


@on(*BY_FD, fd=-1)
@on(*BY_PATH)
def only_below(call: Call) -> Allow | Deny:
    """Every path that the call names or changes has to be listed."""
    asks_to_write = isinstance(call, Access) and call.wanted & os.W_OK
    writes_all = asks_to_write or isinstance(call, notifyd.Connect)
    written = call.paths if writes_all else call.written_paths
    for name, path in call.paths.items():
        if path in files.SAFE_DEVICES and isinstance(call, (Open, *ASKING)):
            continue
        if is_listed(path, WRITABLE if name in written else READABLE) or is_own_stream(call, path):
            continue
        if name in written:
            return refusal(path, "allow")
        if not is_free(call, path):
            return refusal(path, "read")
    return Allow()
