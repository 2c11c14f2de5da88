"""For rules about files: what every program reads, and what belongs to the program itself.

A place is an absolute path with no symbolic link in it, as `call.path` is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import PurePosixPath

from notifyd.policy.call import Call
from notifyd.policy.operations import Rename

__all__ = [
    "MAKES_OR_WRITES",
    "SAFE_DEVICES",
    "SELF_LINKS",
    "SYSTEM_PLACES",
    "changes_below",
    "is_own_proc",
    "is_process_memory",
    "names_own_descriptor",
]

_PROGRAMS = "/usr /lib /lib32 /lib64 /libx32 /bin /sbin"
_SETTINGS = {
    "dynamic loader": "alternatives ld.so.cache ld.so.preload",
    "users and hosts": "group passwd gai.conf host.conf hosts nsswitch.conf resolv.conf "
    "protocols services mailname",
    "language, time, terminal": "locale.alias localtime timezone terminfo mime.types",
    "certificates": "crypto-policies gnutls/config pki/ca-trust pki/tls/cert.pem pki/tls/certs "
    "pki/tls/openssl.cnf ssl/cert.pem ssl/certs ssl/openssl.cnf",
    "distribution": "alpine-release arch-release centos-release debian_version fedora-release "
    "gentoo-release lsb-release oracle-release os-release redhat-release rocky-release "
    "SuSE-release system-release",
    "tools": "gitattributes gitconfig pip.conf xdg/pip",
}

SYSTEM_PLACES: tuple[PurePosixPath, ...] = (
    *map(PurePosixPath, _PROGRAMS.split()),
    *(PurePosixPath("/etc", name) for names in _SETTINGS.values() for name in names.split()),
)

SAFE_DEVICES: frozenset[PurePosixPath] = frozenset(
    PurePosixPath("/dev", name) for name in ("null", "zero", "full", "random", "urandom", "tty")
)

MAKES_OR_WRITES: int = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

SELF_LINKS: frozenset[PurePosixPath] = frozenset(
    PurePosixPath(name)
    for name in (
        *("/proc", "/proc/self", "/proc/thread-self"),
        *("/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"),
    )
)

FILES_SUMMARIES = {
    "SAFE_DEVICES": "Devices that hold nothing of anybody, and the program's own terminal.",
    "MAKES_OR_WRITES": "Flags of open(2), each of which makes a file or may change one: for "
    "`@on(Open, flags=has_any(MAKES_OR_WRITES))`.",
    "SELF_LINKS": "Links that say who looks at them, and /proc, where they lie.",
    "SYSTEM_PLACES": "What a dynamically linked program reads to start, and to look up names, "
    "users, time zones and certificates: the directories of programs and libraries, and settings "
    "in /etc. Not all of them are on every system.",
}

_DESCRIPTOR = re.compile(rb"/(dev|proc/self|proc/thread-self)/fd/[0-9]+|/dev/std(in|out|err)")
_ABOUT_ALL = frozenset({"mounts", "mountinfo", "mountstats", "net"})  # below /proc/PID


def is_own_proc(call: Call, path: PurePosixPath) -> bool:
    """Whether a place is in the calling program's own directory of /proc, and about it alone.

    The lists of mounts and the state of the network lie there too; they are about other programs.
    """
    if not path.is_relative_to("/proc"):
        return False
    pid, *names = path.parts[2:] or ("",)
    if names[:1] == ["task"]:
        names = names[2:]
    if not pid.isdecimal() or not _ABOUT_ALL.isdisjoint(names[:1]):
        return False
    return path.is_relative_to(call.resolve(-1, b"/proc/self", True))


def names_own_descriptor(pathname: bytes) -> bool:
    """Whether the path that a call gives is `/dev/fd/N`, `/proc/self/fd/N`, `/dev/stdin` or alike.

    Only these very texts count, and no other link that leads there.
    """
    return _DESCRIPTOR.fullmatch(pathname) is not None


def changes_below(call: Call, path: PurePosixPath, places: Collection[PurePosixPath]) -> bool:
    """Whether a call that changes `path` changes something in one of `places`.

    To rename a directory moves everything below it, to where it has another path. So a `Rename` of
    a directory above a place counts.
    """
    if any(path.is_relative_to(place) for place in places):
        return True
    return isinstance(call, Rename) and any(place.is_relative_to(path) for place in places)


def is_process_memory(path: PurePosixPath) -> bool:
    """Whether a place is /proc/PID/mem: writing there makes another process act."""
    return path.is_relative_to("/proc") and path.name == "mem"
