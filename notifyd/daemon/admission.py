"""Who may come in: users, how many of their listeners, and who has to wait outside for a while."""

from __future__ import annotations

import os
import time

from notifyd.daemon.config import Config, SocketConfig
from notifyd.intake.arrival import ArrivalKind, ArrivalRefused, Peer
from notifyd.intake.quota import UserQuota, is_trusted

__all__ = ["Admission"]

MAX_LISTENERS = 4096  # listeners at once; each is a few descriptors
MAX_LISTENERS_PER_USER = 256  # of them from one user other than root and us
BAN_DURATION_S = 60.0  # seconds for a user whose listener held everybody up


class Admission:
    """Counts the listeners that are in, by the user who brought them."""

    def __init__(self) -> None:
        self._present = UserQuota(MAX_LISTENERS, MAX_LISTENERS_PER_USER)
        self._banned: dict[int, float] = {}  # until when, by uid

    def trusts(self, peer: Peer) -> bool:
        """Whether what a peer says of its filter is believed: if it lied, it would harm us."""
        return is_trusted(peer.uid)

    def welcome(self, config: Config, kind: ArrivalKind, peer: Peer) -> None:
        """See that a peer may use a socket at all.

        Raises:
            ArrivalRefused: it may not, or not yet.
        """
        socket: SocketConfig | None = getattr(config.sockets, kind)
        if socket is None or not socket.serves(peer.uid, os.geteuid()):
            raise ArrivalRefused(
                f"{peer} may not use this socket; sockets.{kind}.users of the configuration "
                "says who may"
            )
        if self._banned.get(peer.uid, 0.0) > time.monotonic():
            raise ArrivalRefused(
                f"uid {peer.uid} handed over what it went on reading; wait {BAN_DURATION_S:g} s"
            )

    def check_room(self, peer: Peer) -> None:
        """See that there is room for one more listener of a peer.

        Raises:
            ArrivalRefused: there is none.
        """
        if not self._present.has_room(peer.uid):
            crowd = self._present.crowd(peer.uid, "listeners")
            raise ArrivalRefused(f"{crowd} are supervised already")

    def enter(self, peer: Peer) -> None:
        """One more listener of a peer is in."""
        self._present.enter(peer.uid)

    def leave(self, peer: Peer, *, shared: bool) -> None:
        """One has gone; `shared` if somebody else turned out to read it, too."""
        self._present.leave(peer.uid)
        if shared and not self.trusts(peer):
            now = time.monotonic()
            self._banned = {uid: until for uid, until in self._banned.items() if until > now}
            self._banned[peer.uid] = now + BAN_DURATION_S
