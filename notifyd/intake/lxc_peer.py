"""Whom an LXC monitor may speak for.

A listener's notifications are the kernel's word. LXC's are its own: it names the thread whose
memory is read and for whom calls are performed. Root may do with any process as it likes anyway,
and so may our own user as far as we can; anybody else only with his own.
"""

from __future__ import annotations

import os

from notifyd.errors import PeerError
from notifyd.intake.arrival import Peer
from notifyd.intake.quota import is_trusted
from notifyd.kernel import namespaces
from notifyd.kernel.limits import MAX_USER_NAMESPACES

__all__ = ["check_pids", "may_ask", "title_of"]

_TITLE = "[lxc monitor] "  # then the path of the containers, a space, and the name


def check_pids(peer: Peer) -> None:
    """Make sure that a process id means the same to us as to the peer.

    Raises:
        PeerError: its pid namespace is another one, or it has ended.
    """
    try:
        theirs = os.stat(f"/proc/{peer.pid}/ns/pid").st_ino
    except OSError as error:
        raise PeerError(f"its pid namespace cannot be looked at: {error.strerror}") from error
    if theirs != os.stat("/proc/self/ns/pid").st_ino:
        raise PeerError("lives in another pid namespace, so that its thread ids say nothing here")


def may_ask(peer: Peer, tid: int) -> bool:
    """Say whether a peer may have calls of a thread decided and performed.

    Anybody but root and our own user: if the thread has his user id, or lives in a user namespace
    that he made, or in one below.
    """
    if is_trusted(peer.uid):
        return True
    try:
        return _is_user(tid, peer.uid) or _made_by(tid, peer.uid)
    except (OSError, KeyError, ValueError):
        return False


def _is_user(tid: int, uid: int) -> bool:
    with open(f"/proc/{tid}/status", "rb") as status:
        fields = dict(line.split(b":", 1) for line in status)
    return {int(one) for one in fields[b"Uid"].split()} == {uid}


def _made_by(tid: int, uid: int) -> bool:
    namespace = os.open(f"/proc/{tid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    ours = os.stat("/proc/self/ns/user").st_ino
    try:
        for _ in range(MAX_USER_NAMESPACES):
            if os.fstat(namespace).st_ino == ours:
                return False
            if namespaces.owner(namespace) == uid:
                return True
            above = namespaces.parent(namespace)
            os.close(namespace)
            namespace = above
        return False
    finally:
        os.close(namespace)


def title_of(pid: int) -> tuple[str, str]:
    """Path and name of a container, as its monitor shows them in its title; "" where it does not.

    For display only: a peer that claims to be a monitor may show any.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            title = file.read(8192).partition(b"\0")[0].decode("utf-8", "backslashreplace")
    except OSError:
        return "", ""
    if not title.startswith(_TITLE):
        return "", ""
    path, _, name = title.removeprefix(_TITLE).rpartition(" ")
    return path, name
