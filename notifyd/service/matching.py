"""Whether a section of the configuration is for an arrival."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from notifyd.listen.arrival import Arrival, Kind
from notifyd.service.config import Match, Texts, as_list, uid_of

__all__ = ["cgroups_of", "fits"]

MOST_BYTES = 1 << 16


def fits(match: Match, arrival: Arrival, cgroups: Callable[[], Sequence[str]]) -> bool:
    """Whether all that a section asks for holds; what it does not ask for does not matter."""
    if match.arrival and arrival.kind.value not in as_list(match.arrival):
        return False
    if as_list(match.user) and arrival.peer.uid not in map(uid_of, as_list(match.user)):
        return False
    if not (_any(match.id, arrival.id) and _any(match.metadata, arrival.metadata)):
        return False
    for key, globs in match.annotations.items():
        if key not in arrival.annotations or not _any(globs, arrival.annotations[key]):
            return False
    return not match.cgroup or any(_any(match.cgroup, path) for path in cgroups())


def _any(globs: Texts, text: str) -> bool:
    wanted = as_list(globs)
    return not wanted or any(fnmatchcase(text, glob) for glob in wanted)


def cgroups_of(arrival: Arrival) -> Sequence[str]:
    """The cgroups of the first process behind an arrival; of the unified hierarchy, if it is there.

    What a peer says of its pid counts only if it is root or us: anybody else could name a process
    that is not theirs, and is looked at itself.
    """
    if not arrival.peer.pid:
        return ()  # in another pid namespace: its numbers mean nothing here
    trusted = arrival.kind is not Kind.NATIVE and arrival.peer.uid in (0, os.geteuid())
    pid = (arrival.pid or arrival.peer.pid) if trusted else arrival.peer.pid
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            lines = file.read(MOST_BYTES).decode("utf-8", "backslashreplace").splitlines()
    except OSError:
        return ()
    paths = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    unified = [path for number, _, path in paths if number == "0" and path != "/"]
    return unified or [path for _, _, path in paths]
