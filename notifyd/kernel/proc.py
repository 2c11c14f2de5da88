"""proc(5): what the kernel shows about one task.

Owns parsing (pure, bytes in) and reading relative to an open directory /proc/TID, which keeps
meaning the same task: after that has ended its files fail with ESRCH and are never another's.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from notifyd.kernel.files import READ_FLAGS

__all__ = [
    "TaskStatus",
    "cgroups",
    "cmdline",
    "cwd",
    "exe",
    "limit",
    "mount_id",
    "open_dir",
    "open_flags",
    "parse_status",
    "read_maps",
    "read_stat",
    "read_status",
    "session",
    "start_time",
    "terminal",
    "tracer",
]

# bytes of any file here; 65536 groups make status longer: then it is refused
_MAX_PROC_FILE_BYTES = 1 << 16

Four = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """/proc/TID/status, as far as identity goes. Ids are those of our own user namespace.

    Attributes:
        name: The task's short name, at most 15 bytes, as the task chose it; escapes undone.
        umask: The file mode mask; -1 when the kernel does not tell (before 4.7, or no fs).
        tgid: The process, that is its leading thread's id.
        ppid: The parent process; 0 if not visible in our pid namespace.
        uid: Real, effective, saved and file-system user id.
        gid: Real, effective, saved and file-system group id.
        groups: The supplementary groups.
        cap_inheritable: Bit n for capability n, as in all that follow.
        cap_permitted: The permitted set.
        cap_effective: The effective set.
        cap_bounding: The bounding set.
        cap_ambient: The ambient set.
        no_new_privs: Whether execve can gain nothing any more.
        seccomp: 0 none, 1 strict, 2 filter.
        process_ids: The process in our pid namespace and in each below it, its own last.
        thread_ids: The thread, likewise.
        filters: How many seccomp filters are in force; 0 if not reported (before 5.9).
    """

    name: bytes
    umask: int
    tgid: int
    ppid: int
    uid: Four
    gid: Four
    groups: tuple[int, ...]
    cap_inheritable: int
    cap_permitted: int
    cap_effective: int
    cap_bounding: int
    cap_ambient: int
    no_new_privs: bool
    seccomp: int
    process_ids: tuple[int, ...] = ()
    thread_ids: tuple[int, ...] = ()
    filters: int = 0


def parse_status(data: bytes, *, groups: bool = True) -> TaskStatus:
    """Read the text of /proc/TID/status.

    Args:
        data: the text.
        groups: Whether the supplementary groups are wanted; there may be thousands.

    Raises:
        ValueError: A line that is always there is missing or not a number.
    """
    # The kernel escapes newline and backslash in the name, so a name cannot forge a line.
    fields: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        key, _, value = line.partition(b":")
        fields.setdefault(key, value[1:] if value[:1] == b"\t" else value)
    try:
        return _status(fields, groups)
    except KeyError as error:
        raise ValueError(f"/proc/TID/status without {error}") from error


def _status(fields: dict[bytes, bytes], groups: bool) -> TaskStatus:
    def number(key: bytes, base: int = 10, missing: bytes = b"0") -> int:
        return int(fields.get(key, missing), base)

    return TaskStatus(
        name=_unescape(fields[b"Name"]),
        umask=number(b"Umask", 8, b"-1"),
        tgid=int(fields[b"Tgid"]),
        ppid=int(fields[b"PPid"]),
        uid=_four(fields[b"Uid"]),
        gid=_four(fields[b"Gid"]),
        groups=tuple(map(int, fields[b"Groups"].split())) if groups else (),
        cap_inheritable=int(fields[b"CapInh"], 16),
        cap_permitted=int(fields[b"CapPrm"], 16),
        cap_effective=int(fields[b"CapEff"], 16),
        cap_bounding=int(fields[b"CapBnd"], 16),
        cap_ambient=number(b"CapAmb", 16),
        no_new_privs=number(b"NoNewPrivs") == 1,
        seccomp=number(b"Seccomp"),
        process_ids=tuple(map(int, fields.get(b"NStgid", b"").split())),
        thread_ids=tuple(map(int, fields.get(b"NSpid", b"").split())),
        filters=number(b"Seccomp_filters"),
    )


def _four(value: bytes) -> Four:
    real, effective, saved, fs = (int(part) for part in value.split())
    return real, effective, saved, fs


def _unescape(name: bytes) -> bytes:
    first, *rest = name.split(b"\\\\")
    return b"\\".join(part.replace(b"\\n", b"\n") for part in (first, *rest))


def start_time(stat: bytes) -> int:
    """Return when the task began, in clock ticks since boot, from the text of /proc/TID/stat.

    Together with its pid it names a process for good, for a pid is used again.

    Raises:
        ValueError: The text has another format.
    """
    return _number(stat, 22)


def parent(stat: bytes) -> int:
    """Return the parent's process id in our pid namespace, from the same text.

    Raises:
        ValueError: The text has another format.
    """
    return _number(stat, 4)


def terminal(stat: bytes) -> int:
    """Return the device number of the controlling terminal, 0 for none, from the same text.

    Raises:
        ValueError: The text has another format.
    """
    return _number(stat, 7)


def session(stat: bytes) -> int:
    """Return the session in our pid namespace, 0 if not visible there, from the same text.

    Raises:
        ValueError: The text has another format.
    """
    return _number(stat, 6)


def _number(stat: bytes, field: int) -> int:
    """A field of /proc/TID/stat after the name, as proc(5) counts them."""
    # The name, second and in parentheses, may hold spaces and parentheses: count from the last.
    _, closing, rest = stat.rpartition(b")")
    fields = rest.split()
    if not closing or len(fields) < field - 2:
        raise ValueError("not the text of /proc/TID/stat")
    return int(fields[field - 3])


def confinement(pid: int) -> tuple[int, int]:
    """Return how confined a process is, an ended one too: its seccomp mode, how many filters."""
    directory = open_dir(pid)
    try:
        status = read_status(directory)
    finally:
        os.close(directory)
    return status.seccomp, status.filters


def open_dir(tid: int) -> int:
    """Open /proc/TID, for a thread's id as well.

    Returns:
        A close-on-exec directory descriptor the caller owns.

    Raises:
        FileNotFoundError: ENOENT: no such task, or /proc hides it from us.
    """
    return os.open(f"/proc/{int(tid)}", os.O_DIRECTORY | READ_FLAGS)


def _read(dirfd: int, name: str, most: int = _MAX_PROC_FILE_BYTES) -> bytes:
    fd = os.open(name, READ_FLAGS, dir_fd=dirfd)
    try:
        data = b""
        while len(data) <= most:
            piece = os.read(fd, most + 1 - len(data))
            if not piece:
                return data
            data += piece
    finally:
        os.close(fd)
    raise OSError(errno.EFBIG, f"{name} has more than {most} bytes")


def read_status(dirfd: int, *, groups: bool = True) -> TaskStatus:
    """Return who a task is; its supplementary groups only if they are wanted.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EFBIG: more than 64 KiB, from thousands of groups.
    """
    return parse_status(_read(dirfd, "status"), groups=groups)


def read_stat(dirfd: int) -> bytes:
    """Return the text of `stat`, for `start_time`. Errors as of `read_status`."""
    return _read(dirfd, "stat")


def read_maps(dirfd: int) -> tuple[bytes, bytes]:
    """Return the texts of `uid_map` and `gid_map`: user_namespaces(7). Errors as `read_status`.

    A line says that so many ids, its third number, begin with its first in the task's user
    namespace, and with its second in the reader's, if that is another one.
    """
    return _read(dirfd, "uid_map"), _read(dirfd, "gid_map")


def tracer(dirfd: int) -> int:
    """Return the process that traces a task, in our pid namespace; 0 for none that we can see.

    Raises:
        OSError: as of `read_status`.
    """
    for line in _read(dirfd, "status").splitlines():
        if line.startswith(b"TracerPid:"):
            return int(line.split()[1])
    return 0


def limit(dirfd: int, name: bytes) -> int:
    """Return a task's soft resource limit by its name in /proc/TID/limits; -1 for none.

    prlimit(2) would need CAP_SYS_RESOURCE to ask about another user's.

    Raises:
        OSError: as of `read_status`; ESRCH.
        ValueError: there is no limit of that name.
    """
    found = _read(dirfd, "limits")
    if not found:  # it has ended: fs/proc/base.c, proc_pid_limits
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    for line in found.splitlines():
        if line.startswith(name):
            soft = line[len(name) :].split()[0]
            return -1 if soft == b"unlimited" else int(soft)
    raise ValueError(f"no limit {name!r}")


def open_flags(dirfd: int, number: int) -> int:
    """Return how a descriptor of a task was opened, as open(2) takes flags.

    Raises:
        OSError: ENOENT: it has no such descriptor; as of `read_status`.
    """
    text = _read(dirfd, f"fdinfo/{number}")
    return int(text.partition(b"flags:")[2].split()[0], 8)


def exe(dirfd: int) -> bytes:
    """Return the path of the running file, as the target's mounts show it to us.

    It ends in ` (deleted)` when the file has no name any more.

    Raises:
        OSError: ENOENT: a kernel thread, or ended. EACCES, EPERM: not ours to look into.
    """
    return _link(dirfd, "exe")


def cwd(dirfd: int) -> bytes:
    """Return the path of the working directory. As for `exe`."""
    return _link(dirfd, "cwd")


def _link(dirfd: int, name: str) -> bytes:
    return os.readlink(os.fsencode(name), dir_fd=dirfd)


def cmdline(dirfd: int) -> list[bytes]:
    """Return the arguments: what the target itself says there, which may be anything.

    At most 64 KiB; longer ones are cut off. Empty for a zombie or a kernel thread. The text is the
    target's own memory: a page it keeps from arriving makes this wait.

    Raises:
        OSError: ESRCH, ENOENT: it has ended.
    """
    fd = os.open("cmdline", READ_FLAGS, dir_fd=dirfd)
    try:
        data = os.read(fd, _MAX_PROC_FILE_BYTES)
    finally:
        os.close(fd)
    return data.removesuffix(b"\0").split(b"\0") if data else []


def cgroups(pid: int) -> tuple[str, ...]:
    r"""A process's cgroups: that of the unified hierarchy if it is in one, or else all others.

    As seen from our cgroup namespace; bytes that are no UTF-8 as `\\xNN`. Source: cgroups(7).

    Raises:
        OSError: ENOENT, ESRCH: there is no such process.
    """
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        lines = file.read(_MAX_PROC_FILE_BYTES).decode("utf-8", "backslashreplace").split("\n")
    # Nothing but a newline ends a line here: it alone cannot be in the name of a cgroup, which
    # another user may have chosen.
    paths = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    unified = tuple(path for number, _, path in paths if number == "0" and path != "/")
    return unified or tuple(path for _, _, path in paths)


def mount_id(fd: int) -> int:
    """Return which mount an open file of ours is on, as in the first column of mountinfo.

    Raises:
        OSError: No /proc is mounted.
    """
    directory = os.open("/proc/self/fdinfo", os.O_DIRECTORY | READ_FLAGS)
    try:
        text = _read(directory, str(fd))
    finally:
        os.close(directory)
    lines = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
    return int(lines[b"mnt_id"])
