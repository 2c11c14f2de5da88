"""What the supervisor itself wants to be told of: calls after which what it knows is out of date.

They are in the filter beside what rules ask for, they go on unless a rule decides otherwise, and no
event tells of them unless a rule named them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from notifyd.bpf.cubes import equal
from notifyd.bpf.profile import Cube
from notifyd.policy.call import ARG0, Note


class Change(enum.Enum):
    """What such a call changes."""

    NONE = "nothing: a sibling of a call that would"
    EXECUTABLE = "the process runs another program"
    IDS = "the thread has other user ids"
    PLACE = "the thread, and those that share with it, have another root or other namespaces"
    CONFINED = "the thread gives up rights that performing for it would not give up"
    MAY_BLOCK = (
        "memory of the workload can make whoever reads it wait for ever: userfaultfd(2), FUSE"
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """One system call to be told of.

    Attributes:
        request: for ioctl(2), the only request that matters.
    """

    syscall: str
    change: Change
    request: int | None = None

    @property
    def cubes(self) -> tuple[Cube, ...]:
        """The registers to be told of."""
        return ((),) if self.request is None else equal(1, 32, self.request)

    def concerns(self, note: Note) -> bool:
        """Whether a notification of this system call is one that matters."""
        return self.request is None or note[ARG0 + 1] & 0xFFFFFFFF == self.request


IDENTITY = (
    *(Watched(name, Change.EXECUTABLE) for name in ("execve", "execveat")),
    *(
        Watched(name + wide, Change.IDS)
        for name in ("setuid", "setreuid", "setresuid", "setfsuid")
        for wide in ("", "32")  # i386 has both
    ),
)

# What performing has to know besides: whose rights and whose root a call is done with.
CONTEXT = (
    *(
        Watched(name + wide, Change.IDS)
        for name in ("setgid", "setregid", "setresgid", "setfsgid", "setgroups")
        for wide in ("", "32")
    ),
    Watched("capset", Change.IDS),
    *(Watched(name, Change.PLACE) for name in ("chroot", "pivot_root", "unshare", "setns")),
    # Nobody can see from outside what a thread has forbidden itself: landlock(7).
    Watched("landlock_create_ruleset", Change.CONFINED),
)

USERFAULTFD_IOC_NEW = 0xAA00  # linux/userfaultfd.h, on /dev/userfaultfd since Linux 6.1
LAZINESS = (
    Watched("userfaultfd", Change.MAY_BLOCK),
    Watched("ioctl", Change.MAY_BLOCK, USERFAULTFD_IOC_NEW),
    # A file system that the workload serves itself: its files, mapped, wait as long as it likes.
    *(Watched(name, Change.MAY_BLOCK) for name in ("mount", "fsmount", "move_mount", "setns")),
)
