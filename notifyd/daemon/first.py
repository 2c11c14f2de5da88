"""A workload's first process, by which it is known: its pid alone may be reused soon.

What a peer says of pids counts only if it lives in our pid namespace: elsewhere the same number is
another process. If it has ended already, as runtimes soon do, that is unknown. Then a number
counts if its process lives in a mount namespace that is not ours, as those of containers do.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import NamedTuple

from notifyd.intake.arrival import Arrival, Peer
from notifyd.kernel import namespaces, proc
from notifyd.kernel.statmount import file_of

__all__ = [
    "FirstProcess",
    "first_of",
    "is_ours",
    "processes_of",
    "start_of",
    "surroundings",
    "was_entered",
]

MAX_SCANNED_PROCESSES = 2048  # processes, the newest first, when one is looked for that entered
RECENT_START_S = 10.0  # seconds; what a runtime takes to execute something, and we to hear of it
MAX_PEER_CHILDREN = 64  # of a peer; crun has one or two


class FirstProcess(NamedTuple):
    """The first process of a workload, distinct from all that had its pid before or get it later.

    Attributes:
        pid: in our pid namespace.
        start: when it began, in clock ticks since boot.
    """

    pid: int
    start: int


def first_of(arrival: Arrival) -> FirstProcess | None:
    """The container's first process as it is now; None where that cannot be known."""
    start = start_of(arrival.init) if is_ours(arrival.init, arrival.peer) else 0
    return FirstProcess(arrival.init, start) if start else None


def is_ours(pid: int, peer: Peer) -> bool:
    """Whether a number that a peer gives means a process here."""
    if pid <= 0 or not peer.pid or peer.near is False:
        return False
    return peer.near is True or surroundings(pid) is not None


def start_of(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 if it is not there."""
    try:
        directory = proc.open_dir(pid)
        try:
            return proc.start_time(proc.read_stat(directory))
        finally:
            os.close(directory)
    except (OSError, ValueError, OverflowError):
        return 0


def processes_of(arrival: Arrival) -> list[int]:
    """The processes that a listener may be of: the one that is named, or children of the peer."""
    if arrival.pid > 0:
        return [arrival.pid] if is_ours(arrival.pid, arrival.peer) else []
    return _children(arrival.peer)  # crun 1.8 says 0 of what it executes: a child of itself


def _children(peer: Peer) -> list[int]:
    try:
        with open(f"/proc/{peer.pid}/task/{peer.pid}/children", "rb") as file:
            return [int(one) for one in file.read(4096).split()[:MAX_PEER_CHILDREN]]
    except OSError:
        return []


def was_entered(first: FirstProcess) -> bool:
    """Whether an outside process has entered a container within the last seconds."""
    around = surroundings(*first)
    if around is None:
        return False
    since = (time.clock_gettime(time.CLOCK_BOOTTIME) - RECENT_START_S) * os.sysconf("SC_CLK_TCK")
    # The newest have the highest numbers, but for a wrap.
    pids = sorted((int(one) for one in os.listdir("/proc") if one.isdecimal()), reverse=True)
    return any(
        start_of(pid) >= since and surroundings(pid) == around and _comes_from_outside(pid)
        for pid in pids[:MAX_SCANNED_PROCESSES]
        if pid != first.pid
    )


def _comes_from_outside(pid: int) -> bool:
    """Whether the parent of a process lives in another pid namespace than it."""
    try:
        directory = proc.open_dir(pid)
        try:
            parent = proc.parent(proc.read_stat(directory))
            return not os.path.samestat(
                os.stat("ns/pid", dir_fd=directory), os.stat(f"/proc/{parent}/ns/pid")
            )
        finally:
            os.close(directory)
    except (OSError, ValueError):
        return False


def surroundings(pid: int, start: int = 0) -> tuple[int, ...] | None:
    """What a container's processes have in common, and no others: namespaces and root.

    Args:
        pid: of the process.
        start: when it began, if that is known: another one does not count.

    Returns:
        None if it has ended, is not ours to look into, or lives in our own mount namespace, where
        whatever is executed anywhere may live.
    """
    with suppress(OSError, ValueError, OverflowError):
        directory = proc.open_dir(pid)
        try:
            if os.stat("ns/mnt", dir_fd=directory).st_ino == os.stat("/proc/self/ns/mnt").st_ino:
                return None
            root = _root(directory)
            found = (*namespaces.read(directory), os.stat("ns/pid", dir_fd=directory).st_ino)
            # Last: a directory of /proc that gives this is still that of the same process.
            began = proc.start_time(proc.read_stat(directory))
        finally:
            os.close(directory)
        return (*found, *root) if start in (0, began) else None
    return None


def _root(directory: int) -> tuple[int, int]:
    """The root of the process behind /proc/PID, without asking its file system's server."""
    root = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        return file_of(root)
    finally:
        os.close(root)
