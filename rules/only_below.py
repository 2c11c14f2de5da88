"""Only below: a program has the files below the directories given, and no others.

    notifyd run --rules only-below --option allow=$PWD -- python3 plugin.py

`allow` may be read and written, `read` only read; given once, it replaces the system's directories
that programs need to start. All else gets EACCES, whichever way the path leads there (links, `..`,
/proc/self/root): opening, executing, asking, sockets. Refused outright: mounts, lists of them,
chroot, tracing, handles, devices, io_uring, watching, datagrams, typing into the terminal.

What is open when the program starts stays open. The interpreter that a script or program names is
run by the kernel wherever it lies. chdir(2) is free: it tells what is there, and takes cores there.
"""

import errno
import os
from pathlib import PurePosixPath
from socket import AF_UNIX, SOCK_DGRAM, SOCK_RAW

import notifyd as n
from notifyd import Allow, Call, Connect, Deny, Ioctl, Mknod, Open, Raw, Socket, always, has, on


def place(text: str) -> PurePosixPath:
    """An absolute path with no symbolic link in it, as `call.path` is."""
    if text.startswith("/proc/"):
        raise ValueError("what lies in /proc depends on who looks")
    return PurePosixPath(os.path.realpath(text))


ETC = "alternatives gitconfig group ld.so.cache ld.so.preload locale.alias localtime nsswitch.conf"
ETC += " os-release passwd ssl/certs ssl/openssl.cnf"
SYSTEM = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin"]
SYSTEM = tuple(map(PurePosixPath, SYSTEM + [f"/etc/{one}" for one in ETC.split()]))
ALLOW = n.option("allow", (), convert=place, summary="a directory to read and write, or a file")
READ = n.option("read", SYSTEM, convert=place, summary="a directory to read, or a file")
DEVICES = {f"/dev/{one}" for one in ("null", "zero", "full", "random", "urandom", "tty")}
LOOKS = (n.Stat, n.Access, n.ReadLink, n.GetXattr, n.ListXattr)  # at what lies on the way
BY_FD = (n.Stat, n.StatFs, n.GetXattr, n.ListXattr, n.Truncate)  # what is open is open

always(Deny(errno.EPERM), *n.BYPASSES, Raw("inotify_add_watch", "file_getattr"))
always(Deny(errno.EPERM), Raw("statmount", "listmount"))
always(Deny(errno.EPERM), Ioctl, request=n.FILE_REQUESTS)
always(Deny(errno.EPERM), Mknod, mode=has(0o20000))  # devices
always(Deny(errno.EACCES), Socket, family=AF_UNIX, type={SOCK_DGRAM, SOCK_RAW})  # go anywhere


@on(*BY_FD, fd=-1)
@on(*[one for one in n.PATH_OPERATIONS if one not in BY_FD])
def only_below(call: Call) -> Allow | Deny:
    """Every path that the call names or changes has to be on a list."""
    asks_to_write = isinstance(call, n.Access) and call.wanted & os.W_OK
    written = call.paths if asks_to_write or isinstance(call, Connect) else call.written_paths
    for name, path in call.paths.items():
        if str(path) in DEVICES and isinstance(call, (Open, *LOOKS)):
            continue
        listed, ways = (ALLOW, ()) if name in written else (ALLOW + READ, ALLOW + READ)
        on_the_way = isinstance(call, LOOKS) and any(path in one.parents for one in ways)
        if not on_the_way and not any(path.is_relative_to(one) for one in listed):
            return Deny(errno.EACCES, reason=f"{path} is not on the list")
    return Allow()
