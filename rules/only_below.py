"""Only below: a program has the files below the directories given, and no others.

    notifyd run --rules only-below --option allow=$PWD -- python3 plugin.py

`allow` may be read and written, `read` only read. What programs need to start can be read too: the
system's directories, the command itself, and the virtual environment or pyenv that it, or the
Python on its PATH, is of; `only-read`, given once, replaces all of that. Of /proc it can read what
is about itself, but for the lists of mounts and of the network. All else gets EACCES, whichever way
the path leads there (links, `..`, /proc/self/root): opening, executing, asking, sockets, and POSIX
message queues, which are files of /dev/mqueue. Refused outright: mounts, lists of them, chroot,
tracing, handles, devices, io_uring, watching, datagrams, typing into the terminal.

What is open when the program starts stays open. What has no path is no file: abstract sockets, the
network, System V's queues and shared memory. The interpreter that a script or program names is run
by the kernel wherever it lies. chdir(2) is free: it tells what is there, and takes cores there.
"""

import errno
import os
import re
from pathlib import PurePosixPath
from socket import AF_UNIX, SOCK_DGRAM, SOCK_RAW

import notifyd as n
from notifyd import Allow, Call, Connect, Deny, Ioctl, Mknod, Open, Raw, Socket, always, has, on


def place(text: str) -> PurePosixPath:
    """An absolute path with no symbolic link in it, as `call.path` is; it has to be there."""
    if text.startswith("/proc/"):
        raise ValueError("what lies in /proc depends on who looks")
    return n.existing(text)


PROGRAMS = "/usr /lib /lib32 /lib64 /libx32 /bin /sbin"
SETTINGS = """
    alpine-release alternatives arch-release centos-release crypto-policies debian_version
    fedora-release gai.conf gentoo-release gitattributes gitconfig gnutls/config group host.conf
    hosts ld.so.cache ld.so.preload locale.alias localtime lsb-release mailname mime.types
    nsswitch.conf oracle-release os-release passwd pip.conf pki/ca-trust pki/tls/cert.pem
    pki/tls/certs pki/tls/openssl.cnf protocols redhat-release resolv.conf rocky-release services
    ssl/cert.pem ssl/certs ssl/openssl.cnf SuSE-release system-release terminfo timezone xdg/pip
"""
SYSTEM = [*PROGRAMS.split(), *(f"/etc/{one}" for one in SETTINGS.split())]

ALLOW = n.option("allow", (), convert=place, summary="a directory to read and write, or a file")
READ = n.option("read", (), convert=place, summary="a directory to read as well, or a file")
ONLY_READ = n.option(
    "only-read",
    (*map(PurePosixPath, SYSTEM), *n.command_places(writable=ALLOW)),
    convert=place,
    summary="what to read instead of the system's directories and those of the command",
)
ALLOWED = frozenset(ALLOW)
READABLE = frozenset((*ALLOW, *READ, *ONLY_READ))
ABOVE = frozenset(parent for one in READABLE for parent in one.parents)
DEPTH = max((len(one.parts) for one in READABLE), default=1)  # of a long path no more is asked

DEVICES = {f"/dev/{one}" for one in ("null", "zero", "full", "random", "urandom", "tty")}
QUEUES = PurePosixPath("/dev/mqueue")
LOOKS = (n.Stat, n.Access, n.ReadLink, n.GetXattr, n.ListXattr)  # at what lies on the way
BY_FD = (n.Stat, n.StatFs, n.GetXattr, n.ListXattr, n.Truncate)  # what is open is open

always(Deny(errno.EPERM), *n.BYPASSES)
always(Deny(errno.EPERM), Raw("inotify_add_watch", "file_getattr", "statmount", "listmount"))
always(Deny(errno.EPERM), Ioctl, request=n.FILE_REQUESTS)
always(Deny(errno.EPERM), Mknod, mode=has(0o20000))  # devices
always(Deny(errno.EACCES), Socket, family=AF_UNIX, type={SOCK_DGRAM, SOCK_RAW})  # go anywhere
if ALLOWED.isdisjoint((QUEUES, *QUEUES.parents)):
    always(Deny(errno.EACCES), n.MessageQueue)

# The program's own: links that say who looks, and what it has open, by these very texts alone.
OWN_LINKS = {"/proc", "/proc/self", "/proc/thread-self", "/dev/fd"}
OWN_LINKS |= {"/dev/stdin", "/dev/stdout", "/dev/stderr"}
OWN_FD = re.compile(rb"/(dev|proc/self|proc/thread-self)/fd/[0-9]+|/dev/std(in|out|err)")
OTHERS = {"mounts", "mountinfo", "mountstats", "net"}  # in /proc/PID, but not about PID


def is_own(call: Call, path: PurePosixPath) -> bool:
    """Whether it is the program's own directory in /proc, and not about others."""
    number, *what = path.parts[2:] or ("",)
    what = what[2:] if what[:1] == ["task"] else what
    about = number.isdecimal() and not OTHERS.intersection(what[:1])
    return about and path.is_relative_to(call.resolve(-1, b"/proc/self", True))


def is_open(call: Call, path: PurePosixPath) -> bool:
    """Whether it is a pipe or a terminal that the program has open already."""
    has_no_place = not path.is_absolute() or path.is_relative_to("/dev/pts")
    return has_no_place and isinstance(call, (Open, *LOOKS)) and OWN_FD.fullmatch(call.pathname)


def is_free(call: Call, path: PurePosixPath) -> bool:
    """Whether it may be read without being on a list."""
    if isinstance(call, LOOKS) and (path in ABOVE or str(path) in OWN_LINKS):
        return True
    return path.is_relative_to("/proc") and is_own(call, path)


def refusal(path: PurePosixPath, option: str) -> Deny:
    """The reason says what would be needed. Of /proc, it is all or nothing."""
    needed = f"{option}={'/proc' if path.is_relative_to('/proc') else path}"
    return Deny(errno.EACCES, reason=f"{path} is not on the list: --option {needed} adds it")


@on(*BY_FD, fd=-1)
@on(*[one for one in n.PATH_OPERATIONS if one not in BY_FD])
def only_below(call: Call) -> Allow | Deny:
    """Every path that the call names or changes has to be on a list."""
    asks_to_write = isinstance(call, n.Access) and call.wanted & os.W_OK
    written = call.paths if asks_to_write or isinstance(call, Connect) else call.written_paths
    for name, path in call.paths.items():
        if str(path) in DEVICES and isinstance(call, (Open, *LOOKS)):
            continue
        listed = ALLOWED if name in written else READABLE
        if not listed.isdisjoint((path, *path.parents[-DEPTH:])) or is_open(call, path):
            continue
        if name in written or not is_free(call, path):
            return refusal(path, "allow" if name in written else "read")
    return Allow()
