"""Who a command runs as: reading `--user`, and becoming that user in the child.

Owns names, ids and groups. All look-ups happen when the text is read, in the parent: the child of
a fork must not ask the name service, whose locks another thread may have held.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from notifyd.errors import UsageError
from notifyd.kernel import capability

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["User", "gid_of", "uid_of"]

_HIGHEST = 2**32 - 2  # 2**32 - 1 is setresuid(2)'s "leave it as it is"


@dataclass(frozen=True, slots=True)
class User:
    """Ids of one user.

    Attributes:
        uid: The user id.
        gid: The primary group id.
        groups: The supplementary groups; None to leave those that we have.
        name: The login name; None for an id that has none.
        home: The home directory; `/` for an id that has no entry.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] | None
    name: str | None
    home: str

    @classmethod
    def parse(cls, text: str) -> User:
        """Read `NAME`, `UID` or `UID:GID` (names are taken on either side).

        With a group given, it is the only one; without, the user has the groups of the databases.

        Raises:
            UsageError: No such user or group, or we may not become that user.
        """
        who, colon, group = text.partition(":")
        entry = _entry(who)
        uid = entry.pw_uid if entry else _number(who, "user")
        if colon:
            gid = gid_of(group)
        elif entry:
            gid = entry.pw_gid
        else:
            raise UsageError(f"user {who} has no entry and so no group: write {who}:GID")
        name, home = (entry.pw_name, entry.pw_dir) if entry else (None, "/")
        groups = (gid,) if colon or name is None else tuple(os.getgrouplist(name, gid))
        return _allowed(cls(uid, gid, groups, name, home))

    def assume(self) -> None:
        """Become this user for good, in a child that has one thread.

        Raises:
            OSError: EPERM: a capability is missing, or the user namespace forbids setgroups(2).
                EINVAL: an id that this user namespace has not.
        """
        if self.groups is not None:
            os.setgroups(self.groups)  # first: the next step gives the right to do so away
            os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)

    def environment(self, base: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Return a copy with HOME, USER and LOGNAME of this user."""
        changed = {**base, b"HOME": os.fsencode(self.home)}
        for key in (b"USER", b"LOGNAME"):
            changed.pop(key, None)
            if self.name is not None:
                changed[key] = os.fsencode(self.name)
        return changed


def _entry(who: str) -> pwd.struct_passwd | None:
    """Return the database's entry by name or, failing that, by number."""
    try:
        return pwd.getpwnam(who)
    except (KeyError, ValueError):
        pass
    try:
        return pwd.getpwuid(_number(who, "user"))
    except KeyError:
        return None


def uid_of(who: str) -> int:
    """The id of a user given by name or number.

    Raises:
        UsageError: No such user.
    """
    entry = _entry(who)
    return entry.pw_uid if entry else _number(who, "user")


def gid_of(group: str) -> int:
    """The id of a group given by name or number.

    Raises:
        UsageError: No such group.
    """
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        return _number(group, "group")


def _number(text: str, kind: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _HIGHEST:
        return int(text)
    raise UsageError(f"no such {kind}: {text!r}; give a name or a number, such as 1000")


def _allowed(user: User) -> User:
    """Return the user as we can become it, or say what is missing."""
    if capability.has("CAP_SETUID") and capability.has("CAP_SETGID"):
        return user
    if user.uid == os.getuid() == os.geteuid() and user.gid == os.getgid() == os.getegid():
        return User(user.uid, user.gid, None, user.name, user.home)  # ourselves: nothing to set
    label = user.name or str(user.uid)
    raise UsageError(f"only root can run a command as user {label}: use sudo, or leave --user out")
