"""Where a helper has to be for a context, and whether it can be there for one call at a time.

Values only. A helper that is elsewhere keeps what is there: namespaces, and with them mounts,
devices and network interfaces. So it goes there for each request anew and comes home before it
answers: a *traveller*. From another user namespace nobody comes home; who joined one stays, and
ends with the last process that it worked for.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from notifyd.kernel import namespaces
from notifyd.perform.process_context import ProcessContext

__all__ = ["HelperPlacement", "HelperPlan", "plan_for"]

_USER = namespaces.NAMESPACE_TYPES["user"]
_MNT = namespaces.NAMESPACE_TYPES["mnt"]


class HelperPlan(msgspec.Struct, array_like=True, frozen=True):
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
        """Whether it is where its target is for one request at a time."""
        return self.is_elsewhere and not self.stays

    @property
    def is_elsewhere(self) -> bool:
        """Whether it has other namespaces or another root than we have."""
        return self.enter or bool(self.join)


class HelperPlacement(NamedTuple):
    """Which helpers do the calls of a context.

    Attributes:
        key: theirs.
        plan: what they are.
    """

    key: bytes
    plan: HelperPlan


def plan_for(context: ProcessContext, own: ProcessContext, more: int) -> HelperPlan:
    """What a helper for a context has to be.

    Args:
        context: of the targets.
        own: the supervisor's.
        more: capabilities on top of the context's.
    """
    pairs = zip(
        namespaces.NAMESPACE_TYPES.values(), own.namespaces, context.namespaces, strict=True
    )
    join = sum(flag for flag, mine, theirs in pairs if mine != theirs)
    powers = context.creds.capabilities
    if join & _USER and more:
        # A power that is granted counts in our user namespace, where its own do not.
        join &= ~_USER
        powers = 0
    creds = context.creds
    ids = creds.euid, creds.fsuid, creds.egid, creds.fsgid
    enter = bool(join & _MNT) or context.root != own.root
    return HelperPlan(join, ids, creds.groups, powers | more, enter, context.whole)
