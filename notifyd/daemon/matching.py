"""Whether a section of the configuration is for an arrival."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from notifyd.daemon.config import Match, Texts, as_list, uid_of
from notifyd.daemon.first import is_ours
from notifyd.intake.arrival import Arrival
from notifyd.intake.native import NATIVE
from notifyd.intake.quota import is_trusted
from notifyd.kernel import proc

__all__ = ["cgroups_of", "fits"]


def fits(match: Match, arrival: Arrival, cgroups: Sequence[str]) -> bool:
    """Whether all that a section asks for holds; what it does not ask for does not matter."""
    if match.arrival and arrival.kind not in as_list(match.arrival):
        return False
    if as_list(match.user) and arrival.peer.uid not in map(uid_of, as_list(match.user)):
        return False
    if not (_any(match.id, arrival.id) and _any(match.metadata, arrival.metadata)):
        return False
    for key, globs in match.annotations.items():
        if key not in arrival.annotations or not _any(globs, arrival.annotations[key]):
            return False
    return not match.cgroup or any(_any(match.cgroup, path) for path in cgroups)


def _any(globs: Texts, text: str) -> bool:
    wanted = as_list(globs)
    return not wanted or any(fnmatchcase(text, glob) for glob in wanted)


def cgroups_of(arrival: Arrival) -> Sequence[str]:
    """The cgroups of the first process behind an arrival; of the unified hierarchy, if it is there.

    What a peer says of its pid counts only if it is root or us: anybody else could name a process
    that is not theirs, and is looked at itself.
    """
    peer = arrival.peer
    if arrival.kind == NATIVE or not is_trusted(peer.uid):
        return peer.cgroups
    if not is_ours(arrival.pid, peer):
        return peer.cgroups  # in another pid namespace its numbers mean nothing here
    try:
        return proc.cgroups(arrival.pid)
    except OSError:
        return ()
