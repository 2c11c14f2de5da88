"""Whose a listener is: which workload, of those that are here, an arrival is a part of.

Ids do not say: a runtime keeps them apart within one root, one namespace of containerd or one path
of LXC, and there may be several of these. So a container is known by its first process.

    runtime        what it says of a process that it executes into a container
    runc, youki    `state.pid` is the container's first process
    LXC            each request has the container's first process
    crun 1.8       no pid: the process is a child of the crun that brings its listener, or (below
                   conmon) one that has come into the container from outside just now
    later crun     `state.pid` is the process itself

Of the last two only the kernel can say whose they are: they live in the namespaces and the root of
the container's first process. So has to do what is brought by a peer that has ended, whose numbers
could be those of another pid namespace. Whatever cannot be told so is a workload of its own,
decided by the section that is for it, and shares no rules, counts or answers with its namesakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from notifyd.daemon.first import first_of, processes_of, surroundings, was_entered
from notifyd.daemon.workload import Workload, key_of
from notifyd.intake.arrival import Arrival

__all__ = ["part_of"]


def part_of(arrival: Arrival, present: Iterable[Workload]) -> Workload | None:
    """The workload that an arrival is a part of, if it is here and identified for certain."""
    if not arrival.joins:
        return None
    called = [one for one in present if one.first is not None and one.key == key_of(arrival)]
    if not called:
        return None
    first = first_of(arrival)
    found = [one for one in called if one.first == first]
    if not found or arrival.peer.near is None:
        around = _around(arrival, called)
        found = [one for one in found if one in around] if found else around
    return found[0] if len(found) == 1 else None


def _around(arrival: Arrival, called: Sequence[Workload]) -> list[Workload]:
    """Those whose first process lives where a process of the arrival does."""
    places = {surroundings(pid) for pid in processes_of(arrival)} - {None}
    found = [one for one in called if one.first and surroundings(*one.first) in places]
    if found or arrival.pid > 0:
        return found
    # If crun has ended, or conmon has started it, the parent is another process.
    return [one for one in called if one.first and was_entered(one.first)]
