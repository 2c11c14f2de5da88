"""An arrival: one listener that reached us over a socket, and what its sender says of it.

The peer's credentials come from the kernel. Everything else here is only claimed by the sender:
what decides by it has to know who that is.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

from notifyd.errors import PeerError
from notifyd.kernel import pidfd, proc, unix
from notifyd.kernel.unotify import Notifier

__all__ = ["Arrival", "ArrivalKind", "ArrivalRefused", "Peer", "Take"]


ArrivalKind = NewType("ArrivalKind", str)
"""How it came: the name of its protocol, in `protocols`, and of the socket in the configuration."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket, as the kernel saw it when they connected.

    Attributes:
        pid: 0 if not visible from here; it may belong to another process by now.
        uid: in our user namespace, as is `gid`.
        name: what the process calls itself, for people only.
        groups: its supplementary groups.
        cgroups: of the process; none where it had ended when we looked.
        near: whether it lives in our pid namespace: in another one the pids that it names are
            those of other processes. None where it had ended when we looked.
    """

    pid: int
    uid: int
    gid: int
    name: str
    groups: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    near: bool | None = True

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """The peer of a connected AF_UNIX socket (SO_PEERCRED, SO_PEERGROUPS)."""
        pid, uid, gid = unix.peer_cred(connection)
        groups = unix.peer_groups(connection)
        return cls(pid, uid, gid, _name(pid), groups, *_whereabouts(connection, pid))

    def __str__(self) -> str:
        return f"{self.name or '?'} (pid {self.pid}, uid {self.uid})"


def _whereabouts(connection: socket.socket, pid: int) -> tuple[tuple[str, ...], bool | None]:
    """The cgroups of the process that connected, and whether it shares our pid namespace.

    Of no other that has its number by now.
    """
    if not pid:
        return (), False  # in another pid namespace
    found: tuple[str, ...] = ()
    near: bool | None = None
    try:
        found = proc.cgroups(pid)
        near = os.stat(f"/proc/{pid}/ns/pid").st_ino == os.stat("/proc/self/ns/pid").st_ino
        process = unix.peer_pidfd(connection)
    except PermissionError:  # not ours to look into
        return found, False
    except OSError as error:
        # Before Linux 6.5 it is unknown whether it still is the same.
        return (found, near) if error.errno == errno.ENOPROTOOPT else ((), None)
    try:
        return (found, near) if pidfd.alive(process) else ((), None)
    finally:
        os.close(process)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read(64).decode("utf-8", "backslashreplace").rstrip("\n")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One listener. Owns it until it is taken over.

    Attributes:
        kind: how it came.
        peer: who brought it.
        id: the container's id or the command's name, as the peer says; printable, not empty, and at
            most 256 characters.
        listener: the descriptor to poll: a seccomp listener, or the connection that stands for it.
        notifier: how to receive and answer; None for an ordinary listener.
        pid: the first process behind it, as the peer says; 0 where it does not.
        init: the first process of its container, likewise.
        metadata: `listenerMetadata` of an OCI profile, the cookie of LXC; "" where there is none.
        annotations: of the container.
        bundle: the directory of the OCI bundle, or LXC's of containers; "" where there is none.
        section: the name of the configuration's section that was asked for; "" for any.
        killable: whether the filter has WAIT_KILLABLE_RECV, as far as the peer says.
        joins: whether it may be a part of a container that is here already, as a process that is
            executed into one. Which one, the id alone does not say.
    """

    kind: ArrivalKind
    peer: Peer
    id: str
    listener: int
    notifier: Notifier | None = None
    pid: int = 0
    metadata: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    bundle: str = ""
    section: str = ""
    killable: bool = False
    joins: bool = False
    init: int = 0

    def close(self) -> None:
        """Close the listener: calls behind it fail with ENOSYS from now on."""
        os.close(self.listener)


class ArrivalRefused(PeerError):
    """An arrival that is not supervised. The text says why, and may be sent to its sender."""


Take = Callable[[Arrival], object]
"""Takes an arrival over: its listener is owned by the callee from then on, even if it raises
ArrivalRefused. It does not wait, and reads only the arrival, memory and /proc."""
