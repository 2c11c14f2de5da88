"""Who may come in, how many, and who has to wait."""

import os

import pytest

from notifyd.daemon import door
from notifyd.daemon.config import Config, Match, Section, SocketConfig, Sockets
from notifyd.intake.arrival import Kind, Peer, Refused

USER = Peer(1, 4711, 4711, "user")
ROOT = Peer(1, 0, 0, "root")


def _config(users) -> Config:
    native = SocketConfig("/x", users=users)
    return Config(Sockets(native=native), [Section("all", ["no-network"], match=Match())])


@pytest.mark.parametrize(("users", "peer"), [([], USER), ([4712], USER)])
def test_not_welcome(users, peer):
    """Whom the socket does not name."""
    with pytest.raises(Refused, match=r"sockets\.native\.users of the configuration"):
        door.Door().welcome(_config(users), Kind.NATIVE, peer)


def test_welcome():
    """Whom it names, root, and whoever runs the daemon; not at a socket that is none."""
    found = door.Door()
    for users, peer in (([4711], USER), ("any", USER), ([], ROOT)):
        found.welcome(_config(users), Kind.NATIVE, peer)
    found.welcome(_config([]), Kind.NATIVE, Peer(1, os.geteuid(), 0, "we"))
    with pytest.raises(Refused):
        found.welcome(_config("any"), Kind.OCI, ROOT)


def test_room():
    """A user has less room than root; what has gone makes room again."""
    found = door.Door()
    for _ in range(door.MOST_PER_USER):
        found.check_room(USER)
        found.enter(USER)
    with pytest.raises(Refused, match="256 listeners of uid 4711"):
        found.check_room(USER)
    found.check_room(ROOT)
    found.leave(USER, shared=False)
    found.check_room(USER)
    for _ in range(door.MOST):
        found.check_room(ROOT)
        found.enter(ROOT)
    with pytest.raises(Refused):
        found.check_room(ROOT)


def test_room_for_root():
    """Many users, who may be one person, fill their own room only."""
    found = door.Door()
    for number in range(door.MOST):
        found.enter(Peer(1, 100_000 + number, 0, "sub"))
    with pytest.raises(Refused):
        found.check_room(USER)
    found.check_room(ROOT)


def test_who_shared_a_listener_waits(monkeypatch):
    """A minute, and nobody else with them; root is only let go."""
    found = door.Door()
    for peer in (USER, ROOT):
        found.enter(peer)
        found.leave(peer, shared=True)
    found.welcome(_config("any"), Kind.NATIVE, ROOT)
    found.welcome(_config("any"), Kind.NATIVE, Peer(1, 4712, 0, "other"))
    with pytest.raises(Refused, match="wait 60 s"):
        found.welcome(_config("any"), Kind.NATIVE, USER)
    later = door.time.monotonic() + door.BAN + 1
    monkeypatch.setattr(door.time, "monotonic", lambda: later)
    found.welcome(_config("any"), Kind.NATIVE, USER)
