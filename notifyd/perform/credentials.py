"""Credentials: the ids, powers, root, cwd and umask of a target, put on by one thread of ours.

A performed call must never have more power than the target (or what a rule granted it by name). The
real and saved ids stay ours, so that the target cannot signal or trace the thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, credentials, proc
from notifyd.policy.verdicts import Grants

# By the name that a rule grants: the capabilities that a call gets on top of the target's own.
GRANTS = {
    "devices": 1 << capability.CAPABILITY_NUMBERS["CAP_MKNOD"],
    "low-ports": 1 << capability.CAPABILITY_NUMBERS["CAP_NET_BIND_SERVICE"],
    "mounts": 1 << capability.CAPABILITY_NUMBERS["CAP_SYS_ADMIN"],
}


def granted(grant: Grants) -> int:
    """The capabilities behind the name that a rule grants, or behind several.

    Raises:
        CannotPerform: there is no such name.
    """
    if grant is None:
        return 0
    powers = 0
    for name in grant if isinstance(grant, tuple) else (grant,):
        if name not in GRANTS:
            raise CannotPerform(f"no grant is named {name!r}; there is {', '.join(GRANTS)}")
        powers |= GRANTS[name]
    return powers


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a call is performed as.

    Attributes:
        euid: effective user id, and fsuid: the one that files see.
        egid: effective group id, and fsgid.
        groups: supplementary groups.
        capabilities: effective ones, bit n for capability n, none of them from another user
            namespace than ours.
        umask: for what is created.
    """

    euid: int
    fsuid: int
    egid: int
    fsgid: int
    groups: tuple[int, ...]
    capabilities: int
    umask: int

    @classmethod
    def of(cls, directory: int) -> Credentials:
        """The credentials of the thread whose open /proc/TID is `directory`.

        Capabilities in another user namespace are worth nothing in ours, so none are taken over.
        """
        status = proc.read_status(directory)
        return cls.told(status, status.cap_effective if shares_user(directory) else 0)

    @classmethod
    def told(cls, status: proc.TaskStatus, capabilities: int) -> Credentials:
        """The credentials that a status tells of, with these capabilities."""
        return cls(
            status.uid[1],
            status.uid[3],
            status.gid[1],
            status.gid[3],
            status.groups,
            capabilities,
            max(status.umask, 0),
        )

    @classmethod
    def own(cls) -> Credentials:
        """The supervisor's."""
        directory = proc.open_dir(os.getpid())
        try:
            return cls.of(directory)
        finally:
            os.close(directory)

    def change(self, grant: Grants, kept: int = 0) -> Callable[[], None]:
        """What makes the calling thread these credentials, for good; to be called in that thread.

        Found out beforehand, since /proc may not be there any more once the root has changed.

        Args:
            grant: the name of a power on top of its own.
            kept: capabilities that stay permitted, but are not in effect.

        Raises:
            CannotPerform: `grant` is no known name; or, when called, we lack the power.
        """
        more = granted(grant)
        mine = Credentials.own()
        if self == replace(mine, umask=self.umask) and not more & ~mine.capabilities:
            return lambda: None
        return partial(self.put_on, mine, more, kept)

    def put_on(self, mine: Credentials, more: int, kept: int = 0) -> None:
        """Make the calling thread these credentials, from `mine`, with `more` capabilities.

        Those `kept` stay permitted, and are not in effect.

        Raises:
            CannotPerform: we lack the power.
        """
        try:
            self._become(mine, more, kept)
        except OSError as error:
            raise CannotPerform(
                f"cannot act as user {self.euid}, group {self.egid}: {error.strerror}; "
                "performing for other users needs a supervisor that runs as root"
            ) from error

    def _become(self, mine: Credentials, more: int, kept: int) -> None:
        if self.groups != mine.groups:
            credentials.set_groups(self.groups)
        if (self.egid, self.fsgid) != (mine.egid, mine.fsgid):
            credentials.set_gids(-1, self.egid, -1)
        if (self.euid, self.fsuid) != (mine.euid, mine.fsuid):
            credentials.set_uids(-1, self.euid, -1)
        mine_all = mine.euid, mine.fsuid, mine.egid, mine.fsgid
        if (self.euid, self.fsuid, self.egid, self.fsgid) != mine_all:
            credentials.set_fs_ids(self.fsuid, self.fsgid)  # those before have changed them too
        held = capability.get(0).permitted
        powers = (self.capabilities | more) & held
        credentials.set_capabilities(powers, powers | kept & held)


def shares_user(directory: int) -> bool:
    """Whether the thread behind /proc/TID is in our own user namespace."""
    ours = os.stat("/proc/self/ns/user").st_ino
    return os.stat("ns/user", dir_fd=directory).st_ino == ours


def enter(directory: int, umask: int) -> None:
    """Take on the root, cwd and umask of the thread behind /proc/TID, in the calling thread.

    Raises:
        CannotPerform: its root or mount namespace is not ours; entering it needs CAP_SYS_CHROOT.
    """
    credentials.unshare(credentials.CLONE_FS)
    try:
        # Both are opened before the root changes: /proc may not be there afterwards.
        here = os.open("cwd", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
        try:
            if not _shares_root(directory):
                root = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
                try:
                    os.fchdir(root)
                    os.chroot(".")
                finally:
                    os.close(root)
            os.fchdir(here)
        finally:
            os.close(here)
    except PermissionError as error:
        raise CannotPerform(f"cannot enter the target's root: {error.strerror}") from error
    os.umask(umask)


def _shares_root(directory: int) -> bool:
    """Whether a path means the same to the thread behind `directory` and to us."""
    return all(
        os.path.samestat(os.stat(f"/proc/self/{name}"), os.stat(name, dir_fd=directory))
        for name in ("root", "ns/mnt")
    )
