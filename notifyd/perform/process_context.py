"""A context: all that decides what a path and a power mean to a thread, as values.

Two threads with equal contexts can be served by one helper; one with the supervisor's own context
can be served by the supervisor.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from notifyd.kernel import namespaces, proc
from notifyd.kernel.statmount import file_of
from notifyd.perform.credentials import Credentials

__all__ = ["ProcessContext", "Selves"]

# Process and thread: their numbers in our pid namespace and in each below it, their own last.
Selves = tuple[tuple[int, ...], tuple[int, ...]]
_USER = tuple(namespaces.NAMESPACE_TYPES).index("user")


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Where a thread is, and who.

    Attributes:
        namespaces: inode numbers in the order of `namespaces.NAMESPACE_TYPES`.
        root: device and inode of its root directory, and the mount's own name for it.
        creds: ids and capabilities; the ids as our user namespace sees them, the capabilities as
            its own does. The umask is 0: it is asked for when it matters.
        real: real user and group id, for access(2).
        permitted: capabilities that it could make effective.
        whole: whether all of its user ids are one, and all of its group ids.
    """

    namespaces: tuple[int, ...]
    root: tuple[int, int, int]
    creds: Credentials
    real: tuple[int, int]
    permitted: int
    whole: bool

    @classmethod
    def of(cls, directory: int) -> ProcessContext:
        """The context of the thread whose open /proc/TID is `directory`.

        Raises:
            OSError: ESRCH, ENOENT: it has ended. EACCES, EPERM: not ours to look into.
        """
        status = proc.read_status(directory)
        creds = replace(Credentials.told(status, status.cap_effective), umask=0)
        real = status.uid[0], status.gid[0]
        found = namespaces.read(directory)
        whole = len(set(status.uid)) == len(set(status.gid)) == 1
        return cls(found, _root(directory), creds, real, status.cap_permitted, whole)

    @property
    def user(self) -> int:
        """The inode number of its user namespace."""
        return self.namespaces[_USER]

    def for_access(self) -> ProcessContext:
        """The context in which access(2) looks: real ids, and the powers that go with them."""
        uid, gid = self.real
        creds = self.creds
        # A real user 0 has what is permitted, all others have nothing: access(2), and
        # access_override_creds() in Linux. In another user namespace 0 has another number here.
        powerful = uid == 0 or (uid == creds.euid and creds.capabilities == self.permitted)
        powers = self.permitted if powerful else 0
        changed = replace(creds, euid=uid, fsuid=uid, egid=gid, fsgid=gid, capabilities=powers)
        return self if changed == creds else replace(self, creds=changed)


def _root(directory: int) -> tuple[int, int, int]:
    """What is at the root, and which mount it is of.

    The same directory may be mounted twice, with other mounts below it each time.
    """
    root = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        return *file_of(root), proc.mount_id(root)
    finally:
        os.close(root)
