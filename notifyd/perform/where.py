"""Where a helper has to be for a context, and whether it can be there for one call at a time.

Values only. A helper that is elsewhere keeps what is there: namespaces, and with them mounts,
devices and network interfaces. So it goes there for each order anew and comes home before it
answers: a *traveller*. From another user namespace nobody comes home; who joined one stays, and
ends with the last process that it worked for.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from notifyd.kernel import namespaces
from notifyd.perform.context import Context

__all__ = ["Plan", "Where", "plan_for"]

_USER = namespaces.KINDS["user"]
_MNT = namespaces.KINDS["mnt"]


class Plan(msgspec.Struct, array_like=True, frozen=True):
    """What a helper shall be.

    Attributes:
        join: flags of the namespaces to join.
        ids: euid, fsuid, egid, fsgid as our user namespace sees them.
        groups: supplementary groups.
        capabilities: effective ones, of the user namespace that it ends up in.
        enter: whether the root has to be entered.
        whole: whether the target's real and saved ids are these too.
    """

    join: int
    ids: tuple[int, int, int, int]
    groups: tuple[int, ...]
    capabilities: int
    enter: bool
    whole: bool = False

    @property
    def stays(self) -> bool:
        """Whether it joins a user namespace, which it cannot leave again."""
        return bool(self.join & _USER)

    @property
    def travels(self) -> bool:
        """Whether it is where its target is for one order at a time."""
        return self.is_elsewhere and not self.stays

    @property
    def is_elsewhere(self) -> bool:
        """Whether it has other namespaces or another root than we have."""
        return self.enter or bool(self.join)


class Where(NamedTuple):
    """Which helpers do the calls of a context.

    Attributes:
        key: theirs.
        plan: what they are.
    """

    key: bytes
    plan: Plan


def plan_for(context: Context, own: Context, more: int) -> Plan:
    """What a helper for a context has to be.

    Args:
        context: of the targets.
        own: the supervisor's.
        more: capabilities on top of the context's.
    """
    pairs = zip(namespaces.KINDS.values(), own.namespaces, context.namespaces, strict=True)
    join = sum(flag for flag, mine, theirs in pairs if mine != theirs)
    powers = context.persona.capabilities
    if join & _USER and more:
        # A power that is granted counts in our user namespace, where its own do not.
        join &= ~_USER
        powers = 0
    persona = context.persona
    ids = persona.euid, persona.fsuid, persona.egid, persona.fsgid
    enter = bool(join & _MNT) or context.root != own.root
    return Plan(join, ids, persona.groups, powers | more, enter, context.whole)
