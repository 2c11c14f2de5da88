"""What a helper is asked to do, and what it says: one system call, its paths, its buffers.

Values only, and their bytes. A path is a `Place`: text, where it starts, and how its last component
is meant; the executor turns it into something that no rename and no other thread can change.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

__all__ = [
    "OPENED",
    "Arg",
    "ArgumentUse",
    "HelperReply",
    "HelperRequest",
    "LastComponent",
    "Need",
    "Place",
    "Slot",
]


class LastComponent(enum.IntEnum):
    """What the last component of a path is to the call."""

    NAME = 0  # a name in its directory, that is made or taken away; never followed
    NOFOLLOW = 1  # the thing itself, also if it is a symbolic link
    FOLLOW = 2  # the thing, behind all links
    MADE = 3  # a name that may be made, behind all links: open(2) with O_CREAT
    MADE_HERE = 4  # the same with O_NOFOLLOW or O_EXCL: a link is not followed
    ITSELF = 5  # no path at all: the descriptor `start`
    MOUNTED = 6  # what is mounted there, which nobody may touch: umount(2) with MNT_EXPIRE


class Place(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One path.

    Attributes:
        start: which of the descriptors that come along it starts from; -1 for an absolute path.
        path: as the target gave it; at most 4095 bytes.
        last: see `LastComponent`.
        seen: the name that the rule saw, absolute; the call is not done if it means another now.
        mounts: of a path that the rule saw: where links of /proc on the way may lead to.
        apart: whether what it means is not on a mount of the target's own namespace, and so has to
            be on one of `mounts`: whoever that namespace belongs to can mount others there.
    """

    start: int
    path: bytes
    last: int
    seen: bytes | None = None
    mounts: tuple[int, ...] = ()
    apart: bool = False


class ArgumentUse(enum.IntEnum):
    """How an argument of the system call comes from a place or a descriptor."""

    AT = 0  # two arguments: a directory, and a name in it
    PATH = 1  # a path to the thing, relative to the working directory of the executor
    FD = 2  # the O_PATH descriptor of the thing
    OWN = 3  # a descriptor that came along
    OUT = 4  # a buffer of that many bytes
    IN_CWD = 5  # a name, with the working directory set to its directory


class Slot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An argument that the executor puts in; `index` of a place or descriptor, or a size."""

    use: int
    index: int


Arg: TypeAlias = int | bytes | Slot


class HelperRequest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One call to be done.

    Attributes:
        call: its name in syscalls(2); `open` and `openat2` are done with care. `pin` is no call:
            it gives an O_PATH descriptor of its place. `mount anew` is mount(2) of a file system
            from a working directory. Calls on sockets have a form of their own: `on_socket`.
        places: its paths.
        args: its arguments in their order.
        umask: for what it makes; -1 if it makes nothing.
        limit: RLIMIT_FSIZE in bytes; -1 for none.
        fill: what is in the first buffer before the kernel fills it.
        selves: the numbers of the target's process and of its thread, each in our pid namespace
            and in those below it: what /proc/self and /proc/thread-self mean. Sent only when
            asked for.
        looked: what the target's own /proc/TID has for it and not for us: the path there, whether
            a link at its end was followed, and which descriptor it is. Sent only when asked for.
        tty: the device number of its controlling terminal, 0 for none, and the session that it is
            of, in our pid namespace. Sent only when asked for.
        pid: the target's process, for a helper that ends with the last one that it worked for.
    """

    call: str
    places: tuple[Place, ...]
    args: tuple[Arg, ...]
    umask: int = -1
    limit: int = -1
    fill: bytes = b""
    selves: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    tty: tuple[int, int] | None = None
    looked: tuple[tuple[bytes, bool, int], ...] = ()
    pid: int = 0


class Need(enum.IntEnum):
    """Whether a request was done, and what was in the way."""

    DONE = 0
    MOVED = 1  # a path no longer means what the rule saw
    SELVES = 2  # to be sent again with `selves`
    TTY = 3  # to be sent again with `tty`
    CANNOT = 4  # refused; `text` says why
    LOOK = 5  # to be sent again with `path` of the target's own /proc/TID, itself if it is a link
    BEHIND = 6  # the same, with what is behind a link
    OPEN = 7  # whoever may look into the target has to open `path` there, for the target


class HelperReply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What came of a request.

    Attributes:
        value: what the call returned; of an open 0, the descriptor comes along.
        errno: not 0 if it failed.
        outs: the buffers that the kernel filled, whole.
        need: see `Need`.
    """

    value: int = 0
    errno: int = 0
    outs: tuple[bytes, ...] = ()
    need: int = 0
    text: str = ""
    path: bytes = b""


OPENED = HelperReply()  # where a descriptor comes along
