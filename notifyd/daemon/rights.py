"""Who may ask the daemon for what: by the credentials of their socket, and the configuration."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from notifyd.approvals.question import Question
from notifyd.daemon.approval_messages import ActingFor
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.subordinate import users_behind
from notifyd.daemon.workload import Workload
from notifyd.errors import PeerError, UsageError
from notifyd.intake.arrival import Peer
from notifyd.intake.quota import is_trusted

__all__ = ["ControlContext", "Forbidden", "Reload"]

OVERFLOW_GID = 65534  # the group of a user who has no entry: overflowgid, proc_sys_kernel(5)

Reload = Callable[[str], Awaitable[list[str]]]
"""Reloads everything. Takes who wanted it; returns what does not go as the configuration says, a
line each. Raises UsageError with every mistake."""


class Forbidden(UsageError):
    """Somebody may not answer this question, or none."""


@dataclass(frozen=True, slots=True)
class ControlContext:
    """What commands are done with."""

    daemon: Daemon
    reload: Reload | None

    def find(self, name: str) -> Workload:
        """A workload by its id: `c1`; `c1~1` where others are called so, too.

        Raises:
            UsageError: there is none, or several match.
        """
        present = self.daemon.workloads
        found = present.get(name) or present.get(name.removesuffix("~1"))
        if found is None:
            raise UsageError(f"no workload {name!r} is supervised: see `notifyd ctl workloads`")
        alike = [one for one in present.values() if name in (one.id, one.arrival.id)]
        if len(alike) > 1:
            listed = ", ".join(map(_told, alike))
            raise UsageError(f"{name!r} could be any of {len(alike)}: {listed}: say which")
        return found

    def check_reads(self, peer: Peer) -> None:
        """See that a peer may ask at all.

        Raises:
            PeerError: it may not.
        """
        if not (self._serves(peer) or self._approves(peer)):
            raise PeerError(
                f"{peer} may not use this socket; sockets.control.users of the configuration says "
                "who may"
            )

    def check_changes(self, peer: Peer, command: str) -> None:
        """See that a peer may change something: root, we, and whom the configuration names.

        Raises:
            UsageError: it may not.
        """
        if not self._changes(peer):
            raise UsageError(
                f"uid {peer.uid} may only read: sockets.control.users of the configuration has to "
                f"name the users who may {command}"
            )

    def check_answers(self, peer: Peer, command: str, person: ActingFor | None) -> None:
        """See that a peer may answer questions, and may speak for whom it says.

        Raises:
            Forbidden: it may not.
        """
        if not (self._changes(peer) or self._approves(peer)):
            raise Forbidden(
                f"uid {peer.uid} may not {command}: sockets.control.users or approvals.users of "
                "the configuration has to name the users who may"
            )
        if person is not None and not is_trusted(peer.uid):
            raise Forbidden(
                f"uid {peer.uid} may not {command} on behalf of others: only root and the "
                "daemon's own user are believed"
            )
        if person is not None and person.uid is not None:
            spoken = _local(person.uid)
            if not (self._changes(spoken) or self._approves(spoken)):
                raise Forbidden(
                    f"uid {person.uid}, whom {peer} speaks for, may not {command}: "
                    "sockets.control.users or approvals.users has to name the users who may"
                )

    def check_own(self, peer: Peer, question: Question, person: ActingFor | None) -> None:
        """See that nobody approves what their own programs ask for. Root may always.

        Raises:
            Forbidden: they would.
        """
        if self.daemon.policies.config.asking.self_approval:
            return
        spoken = person.uid if person is not None and person.uid is not None else peer.uid
        if question.owners and min(question.owners) < 0 and peer.uid != 0:
            raise Forbidden(
                "whose program asks cannot be told (its user namespace is not within the "
                "daemon's): root may approve it"
            )
        own = self._owners(question) & (users_behind({peer.uid, spoken}) - {0})
        if own:
            raise Forbidden(
                f"uid {min(own)} may not approve what its own programs ask for: have somebody else "
                "do it, or set approvals.self-approval"
            )

    def _owners(self, question: Question) -> set[int]:
        """Whose call it is: of who calls, and of who brought the workload; never root.

        Of who calls it is also who owns a user namespace around them, and whoever an id of theirs
        is subordinate to: there a user has as many ids as they like.
        """
        workload = self.daemon.workloads.get(question.workload)
        # In a user namespace a program's uid differs from that of the user who started it.
        brought = {workload.arrival.peer.uid} if workload is not None else set()
        return users_behind(brought | {question.subject.uid} | question.owners) - {0}

    def _serves(self, peer: Peer) -> bool:
        config = self.daemon.policies.config.sockets.control
        own = os.geteuid()
        return peer.uid in (0, own) or (config is not None and config.serves(peer.uid, own))

    def _changes(self, peer: Peer) -> bool:
        config = self.daemon.policies.config.sockets.control
        # Users who may connect only because all may are not trusted with others' containers.
        named = config is not None and config.users != "any" and self._serves(peer)
        return named or is_trusted(peer.uid)

    def _approves(self, peer: Peer) -> bool:
        return self.daemon.policies.config.asking.names(peer.uid, (peer.gid, *peer.groups))


def _told(one: Workload) -> str:
    """A workload among others of its name: what it is to be called, and what tells it apart."""
    name = f"{one.id}~1" if one.id == one.arrival.id else one.id
    pid = next((member.pid for member in one.members if member.pid), None)
    place = one.arrival.bundle and f" {one.arrival.bundle}"
    return f"{name} (pid {pid or '?'}, section {one.policy.name}{place})"


def _local(uid: int) -> Peer:
    """A user of this machine with all of their groups, as if they had connected themselves."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Peer(0, uid, OVERFLOW_GID, "")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Peer(0, uid, entry.pw_gid, entry.pw_name, groups)
