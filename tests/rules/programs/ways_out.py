"""Tries every way out of a directory; prints a line for each way and what came of it.

    ways_out.py INSIDE OUTSIDE ROOT_FD OTHER_PID

INSIDE is the program's own, OUTSIDE holds a file `secret`, a directory `tree` with a file in it, a
program `tool`, and two sockets. ROOT_FD is an open descriptor of `/`, which somebody forgot, and
OTHER_PID a process of the same user.
"""

import ctypes
import errno
import json
import os
import socket
import struct
import sys

INSIDE, OUTSIDE, ROOT, OTHER = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SECRET, TREE, OWN = f"{OUTSIDE}/secret", f"{OUTSIDE}/tree", f"{INSIDE}/own"
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = json.loads(os.environ["NUMBERS"])


def syscall(name, *args):
    """A bare system call; its errors are OSError."""
    six = [ctypes.c_ulong(one & 2**64 - 1) if isinstance(one, int) else one for one in args]
    found = libc.syscall(ctypes.c_long(NUMBERS[name]), *six)
    if found < 0:
        raise OSError(ctypes.get_errno(), name)
    return found


def read(path, flags=0, **more):
    """The first bytes of a file."""
    fd = os.open(path, os.O_RDONLY | flags, **more)
    try:
        return os.read(fd, 64).decode()
    finally:
        os.close(fd)


def link(text):
    """A symbolic link inside that says `text`."""
    name = f"{INSIDE}/link"
    if os.path.lexists(name):
        os.unlink(name)
    os.symlink(text, name)
    return name


def by_cwd():
    """With the working directory outside, by whatever name."""
    os.chdir(OUTSIDE)
    try:
        return read("secret")
    finally:
        os.chdir(INSIDE)


def by_own_cwd():
    """Through /proc/self/cwd."""
    os.chdir(OUTSIDE)
    try:
        return read("/proc/self/cwd/secret")
    finally:
        os.chdir(INSIDE)


def openat2(path, flags, resolve):
    """Open with limits on the way."""
    how = struct.pack("=QQQ", flags, 0, resolve)
    fd = syscall("openat2", AT_FDCWD, os.fsencode(path), how, len(how))
    return os.read(fd, 64).decode()


def by_handle():
    """A handle of the file, and the file of the handle."""
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    syscall("name_to_handle_at", AT_FDCWD, SECRET.encode(), handle, ctypes.byref(mount), 0)
    return os.read(syscall("open_by_handle_at", ROOT, handle, os.O_RDONLY), 64).decode()


def nameless(where):
    """A file without a name, which may get one."""
    return os.open(where, os.O_TMPFILE | os.O_RDWR, 0o600)


def name_it(target, *, by_proc):
    """Give a nameless file of inside a name."""
    fd = nameless(INSIDE)
    if by_proc:
        return linkat(f"/proc/self/fd/{fd}", target, AT_SYMLINK_FOLLOW)
    return syscall("linkat", fd, b"", AT_FDCWD, target.encode(), AT_EMPTY_PATH)


def linkat(old, new, flags):
    """A hard link, behind a symbolic one if it is told to."""
    return syscall("linkat", AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags)


def exchange(old, new):
    """Rename with RENAME_EXCHANGE."""
    return syscall("renameat2", AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), 2)


def there_and_back():
    """Rename all of outside, and leave it as it was for the other ways."""
    os.rename(OUTSIDE, f"{OUTSIDE}.moved")
    os.rename(f"{OUTSIDE}.moved", OUTSIDE)


def talk(path, kind=socket.SOCK_STREAM):
    """Connect to a socket of a daemon."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.connect(path)
        return "connected"


def post(path):
    """A datagram to a daemon, from one of a pair."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.sendto(b"hello", path)
        return "sent"


def bind(path):
    """A name for a socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        return "bound"


def execute(path):
    """Run a program and say what it said."""
    output, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(into, 1)
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    os.close(into)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, path)
    return os.read(output, 64).decode() or "ran"


def on_system_file(action):
    """Change a file that may be read, by a descriptor that is open for reading."""
    fd = os.open("/usr/bin/true", os.O_RDONLY)
    try:
        return action(fd)
    finally:
        os.close(fd)


def steal():
    """A descriptor of somebody else's."""
    return syscall("pidfd_getfd", os.pidfd_open(OTHER), 0, 0)


def set_flags(fd):
    """chattr(1)."""
    return libc_ioctl(fd, 0x40086602, struct.pack("=l", 0x80))


def old_version(fd, request):
    """The number of a file's generation, as ext4 alone knows it."""
    return libc_ioctl(fd, request, struct.pack("=q", 7))


def libc_ioctl(fd, request, data):
    """ioctl(2) with a buffer."""
    if libc.ioctl(fd, ctypes.c_ulong(request), data) < 0:
        raise OSError(ctypes.get_errno(), "")
    return 0


WAYS = {
    "plain": lambda: read(SECRET),
    "dots": lambda: read(f"{INSIDE}/../{os.path.basename(OUTSIDE)}/secret"),
    "relative": lambda: read(os.path.relpath(SECRET, INSIDE)),
    "slashes": lambda: read(f"//{SECRET}"),
    "link": lambda: read(link(SECRET)),
    "relative link": lambda: read(link(os.path.relpath(SECRET, INSIDE))),
    "link to a directory": lambda: read(f"{link(OUTSIDE)}/secret"),
    "link to proc": lambda: read(link("/proc/self/root" + SECRET)),
    "root of proc": lambda: read("/proc/self/root" + SECRET),
    "root of a thread": lambda: read("/proc/thread-self/root" + SECRET),
    "root of the parent": lambda: read(f"/proc/{os.getppid()}/root{SECRET}"),
    "cwd": by_cwd,
    "cwd of proc": by_own_cwd,
    "descriptor of the root": lambda: read(SECRET[1:], dir_fd=ROOT),
    "descriptor in proc": lambda: read(f"/proc/self/fd/{ROOT}{SECRET}"),
    "descriptor in dev": lambda: read(f"/dev/fd/{ROOT}{SECRET}"),
    "path only": lambda: os.open(SECRET, os.O_PATH),
    "path only of a directory": lambda: os.open(OUTSIDE, os.O_PATH),
    "list": lambda: str(os.listdir(OUTSIDE)),
    "list the root": lambda: str(os.listdir("/")),
    "openat2": lambda: openat2(SECRET, os.O_RDONLY, 0),
    "openat2 in root": lambda: openat2(SECRET, os.O_RDONLY, 0x10),
    "openat2 beneath": lambda: openat2("../outside/secret", os.O_RDONLY, 0x08),
    "handle": by_handle,
    "write": lambda: os.open(SECRET, os.O_WRONLY),
    "create": lambda: os.open(f"{OUTSIDE}/new", os.O_CREAT | os.O_WRONLY),
    "create exclusively": lambda: os.open(f"{OUTSIDE}/new", os.O_CREAT | os.O_EXCL | os.O_RDWR),
    "create behind a link": lambda: os.open(link(f"{OUTSIDE}/new"), os.O_CREAT | os.O_WRONLY),
    "nameless": lambda: nameless(OUTSIDE),
    "name by proc": lambda: name_it(f"{OUTSIDE}/new", by_proc=True),
    "name by descriptor": lambda: name_it(f"{OUTSIDE}/new", by_proc=False),
    "link in": lambda: os.link(SECRET, f"{INSIDE}/hard"),
    "link out": lambda: os.link(OWN, f"{OUTSIDE}/new"),
    "link in by a link": lambda: linkat(link(SECRET), f"{INSIDE}/hard", AT_SYMLINK_FOLLOW),
    "link in by proc": lambda: linkat(f"/proc/self/fd/{ROOT}{SECRET}", f"{INSIDE}/hard", 0),
    "link the root": lambda: syscall("linkat", ROOT, b"", AT_FDCWD, b"hard", AT_EMPTY_PATH),
    "link a system file": lambda: os.link("/usr/bin/true", f"{INSIDE}/hard"),
    "rename in": lambda: os.rename(SECRET, f"{INSIDE}/moved"),
    "rename out": lambda: os.rename(OWN, f"{OUTSIDE}/new"),
    "rename a tree in": lambda: os.rename(TREE, f"{INSIDE}/moved"),
    "exchange": lambda: exchange(OWN, SECRET),
    "rename all": there_and_back,
    "symlink": lambda: os.symlink("x", f"{OUTSIDE}/new"),
    "mkdir": lambda: os.mkdir(f"{OUTSIDE}/new"),
    "mkfifo": lambda: os.mkfifo(f"{OUTSIDE}/new"),
    "unlink": lambda: os.unlink(SECRET),
    "rmdir": lambda: os.rmdir(f"{OUTSIDE}/empty"),
    "truncate": lambda: os.truncate(SECRET, 0),
    "chmod": lambda: os.chmod(SECRET, 0o777),
    "chmod by a link": lambda: os.chmod(link(SECRET), 0o777),
    "chown": lambda: os.chown(SECRET, os.getuid(), os.getgid()),
    "lchown": lambda: os.lchown(SECRET, os.getuid(), os.getgid()),
    "utime": lambda: os.utime(SECRET),
    "setxattr": lambda: os.setxattr(SECRET, "user.x", b"x"),
    "removexattr": lambda: os.removexattr(SECRET, "user.is"),
    "getxattr": lambda: os.getxattr(SECRET, "user.is"),
    "listxattr": lambda: str(os.listxattr(SECRET)),
    "access": lambda: syscall("access", SECRET.encode(), os.R_OK),
    "stat": lambda: os.stat(SECRET).st_size,
    "stat by a link": lambda: os.stat(link(SECRET)).st_size,
    "lstat": lambda: os.lstat(SECRET).st_size,
    "statfs": lambda: os.statvfs(OUTSIDE).f_bsize,
    "readlink": lambda: os.readlink(f"{OUTSIDE}/points"),
    "file_getattr": lambda: syscall("file_getattr", AT_FDCWD, SECRET.encode(), bytes(24), 24, 0),
    "file_setattr": lambda: syscall("file_setattr", AT_FDCWD, SECRET.encode(), bytes(24), 24, 0),
    "execute": lambda: execute(f"{OUTSIDE}/tool"),
    "execute a link": lambda: execute(link(f"{OUTSIDE}/tool")),
    "connect": lambda: talk(f"{OUTSIDE}/socket"),
    "connect by a link": lambda: talk(link(f"{OUTSIDE}/socket")),
    "datagram": lambda: talk(f"{OUTSIDE}/datagrams", socket.SOCK_DGRAM),
    "raw datagram": lambda: talk(f"{OUTSIDE}/datagrams", socket.SOCK_RAW),
    "post": lambda: post(f"{OUTSIDE}/datagrams"),
    "bind": lambda: bind(f"{OUTSIDE}/new"),
    "watch": lambda: syscall("inotify_add_watch", libc.inotify_init(), OUTSIDE.encode(), 0xFFF),
    "watch all": lambda: syscall("fanotify_init", 0x4 | 0x200, os.O_RDWR),
    "io_uring": lambda: syscall("io_uring_setup", 1, bytes(120)),
    "trace": lambda: syscall("ptrace", 16, OTHER, 0, 0),
    "read a process": lambda: syscall("process_vm_readv", OTHER, 0, 0, 0, 0, 0),
    "memory of a process": lambda: read(f"/proc/{OTHER}/mem"),
    "environment of a process": lambda: read(f"/proc/{OTHER}/environ"),
    "own memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
    "steal": steal,
    "chroot": lambda: syscall("chroot", OUTSIDE.encode()),
    "pivot_root": lambda: syscall("pivot_root", OUTSIDE.encode(), OUTSIDE.encode()),
    "mount": lambda: syscall("mount", OUTSIDE.encode(), INSIDE.encode(), 0, 0x1000, 0),
    "open_tree": lambda: syscall("open_tree", AT_FDCWD, OUTSIDE.encode(), 1),
    "umount": lambda: syscall("umount2", b"/", 2),
    "setns": lambda: syscall("setns", ROOT, 0),
    "disk": lambda: os.mknod(f"{INSIDE}/disk", 0o60600, os.makedev(8, 0)),
    "memory device": lambda: os.mknod(f"{INSIDE}/mem", 0o20600, os.makedev(1, 1)),
    "account": lambda: syscall("acct", f"{OUTSIDE}/new".encode()),
    "swap": lambda: syscall("swapon", SECRET.encode(), 0),
    "mode of a system file": lambda: on_system_file(lambda fd: os.fchmod(fd, 0o755)),
    "owner of a system file": lambda: on_system_file(lambda fd: os.fchown(fd, 0, 0)),
    "times of a system file": lambda: on_system_file(os.utime),
    "attribute of a system file": lambda: on_system_file(lambda fd: os.setxattr(fd, "user.x", b"")),
    "flags of a system file": lambda: on_system_file(set_flags),
    "version of a system file": lambda: on_system_file(lambda fd: old_version(fd, 0x40086604)),
    "version, as 32-bit programs": lambda: on_system_file(lambda fd: old_version(fd, 0x40046604)),
    "search a file system": lambda: on_system_file(lambda fd: libc_ioctl(fd, 0xD0009411, None)),
    "handle by a file system": lambda: on_system_file(lambda fd: libc_ioctl(fd, 0xC038586B, None)),
    "type into the terminal": lambda: libc_ioctl(0, 0x5412, b"\n"),
    "paste into the terminal": lambda: libc_ioctl(0, 0x541C, b"\3"),
    "measure a process": lambda: syscall("perf_event_open", bytes(128), OTHER, -1, -1, 0),
    "mounts": lambda: syscall("listmount", 0, 0, 0, 0),
    "a mount": lambda: syscall("statmount", 0, 0, 0, 0),
    "write what is on the way": lambda: syscall(
        "access", os.path.dirname(INSIDE).encode(), os.W_OK
    ),
    "write a system file": lambda: os.open("/usr/bin/true", os.O_RDWR),
    "create a system file": lambda: os.open("/usr/new", os.O_CREAT),
    "make null ordinary": lambda: os.chmod("/dev/null", 0o600),
    "remove null": lambda: os.unlink("/dev/null"),
}

for name, way in WAYS.items():
    try:
        found = way()
        found = f"OUT: {'done' if found is None else found}"
    except OSError as error:
        found = errno.errorcode[error.errno]
    print(json.dumps([name, found]), flush=True)
