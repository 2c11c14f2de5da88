"""An arrival: one listener that reached us over a socket, and what its sender says of it.

Everything here but the peer's credentials is the sender's own word. Whoever decides by it has to
know whom it came from.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from notifyd.errors import PeerError
from notifyd.kernel import unix
from notifyd.kernel.unotify import Notifier

__all__ = ["Arrival", "Kind", "Peer", "Refused", "Take"]


class Kind(enum.Enum):
    """How it came."""

    OCI = "oci"
    LXC = "lxc"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket, as the kernel saw it when they connected.

    Attributes:
        pid: 0 if not visible from here; it may be somebody else's by now.
        uid: in our user namespace, as is `gid`.
        name: what the process calls itself, for people only.
        groups: its supplementary groups.
    """

    pid: int
    uid: int
    gid: int
    name: str
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """The peer of a connected AF_UNIX socket (SO_PEERCRED, SO_PEERGROUPS)."""
        pid, uid, gid = unix.peer_cred(connection)
        return cls(pid, uid, gid, _name(pid), unix.peer_groups(connection))

    def __str__(self) -> str:
        return f"{self.name or '?'} (pid {self.pid}, uid {self.uid})"


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read(64).decode("utf-8", "backslashreplace").rstrip("\n")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One listener. Owns it until somebody takes it.

    Attributes:
        kind: how it came.
        peer: who brought it.
        id: the container's id or the command's name, as the peer says; printable, not empty, and at
            most 256 characters.
        listener: the descriptor to poll: a seccomp listener, or the connection that stands for it.
        notifier: how to receive and answer; None for an ordinary listener.
        pid: the first process behind it, in our pid namespace; 0 where that is not known.
        metadata: `listenerMetadata` of an OCI profile, the cookie of LXC; "" where there is none.
        annotations: of the container.
        bundle: the directory of the OCI bundle; "" where there is none.
        section: the name of the configuration's section that was asked for; "" for any.
        killable: whether the filter has WAIT_KILLABLE_RECV, as far as the peer says.
        joins: whether it is a part of the workload of this id, if that is here from the same peer:
            a process that is executed into a container, not a new container.
    """

    kind: Kind
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

    def close(self) -> None:
        """Close the listener: calls behind it fail with ENOSYS from now on."""
        os.close(self.listener)


class Refused(PeerError):
    """An arrival that nobody wants to supervise. The text says why, and is fit for its sender."""


Take = Callable[[Arrival], object]
"""Takes an arrival over: its listener is owned by the callee from then on, even if it raises
Refused. It neither waits nor looks at anything but the arrival and what is in memory or /proc."""
