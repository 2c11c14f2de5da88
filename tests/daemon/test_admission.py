"""Who may come in, how many, and who has to wait."""

import os

import pytest

from notifyd.daemon import admission
from notifyd.daemon.config import Config, Match, Section, SocketConfig, SocketsConfig
from notifyd.intake.arrival import ArrivalRefused, Peer
from notifyd.intake.native import NATIVE
from notifyd.intake.oci import OCI

USER = Peer(1, 4711, 4711, "user")
ROOT = Peer(1, 0, 0, "root")


def _config(users) -> Config:
    native = SocketConfig("/x", users=users)
    return Config(SocketsConfig(native=native), [Section("all", ["no-network"], match=Match())])


@pytest.mark.parametrize(("users", "peer"), [([], USER), ([4712], USER)])
def test_not_welcome(users, peer):
    """Whom the socket does not name."""
    with pytest.raises(ArrivalRefused, match=r"sockets\.native\.users of the configuration"):
        admission.Admission().welcome(_config(users), NATIVE, peer)


def test_welcome():
    """Whom it names, root, and whoever runs the daemon; not at a socket that is none."""
    found = admission.Admission()
    for users, peer in (([4711], USER), ("any", USER), ([], ROOT)):
        found.welcome(_config(users), NATIVE, peer)
    found.welcome(_config([]), NATIVE, Peer(1, os.geteuid(), 0, "we"))
    with pytest.raises(ArrivalRefused):
        found.welcome(_config("any"), OCI, ROOT)


def test_room():
    """A user has less room than root; what has gone makes room again."""
    found = admission.Admission()
    for _ in range(admission.MAX_LISTENERS_PER_USER):
        found.check_room(USER)
        found.enter(USER)
    with pytest.raises(ArrivalRefused, match="256 listeners of user 4711"):
        found.check_room(USER)
    found.check_room(ROOT)
    found.leave(USER, shared=False)
    found.check_room(USER)
    for _ in range(admission.MAX_LISTENERS):
        found.check_room(ROOT)
        found.enter(ROOT)
    with pytest.raises(ArrivalRefused):
        found.check_room(ROOT)


def test_room_for_root():
    """Many users, who may be one person, fill their own room only."""
    found = admission.Admission()
    for number in range(admission.MAX_LISTENERS):
        found.enter(Peer(1, 100_000 + number, 0, "sub"))
    with pytest.raises(ArrivalRefused):
        found.check_room(USER)
    found.check_room(ROOT)


def test_who_shared_a_listener_waits(monkeypatch):
    """A minute, and nobody else with them; root is only let go."""
    found = admission.Admission()
    for peer in (USER, ROOT):
        found.enter(peer)
        found.leave(peer, shared=True)
    found.welcome(_config("any"), NATIVE, ROOT)
    found.welcome(_config("any"), NATIVE, Peer(1, 4712, 0, "other"))
    with pytest.raises(ArrivalRefused, match="wait 60 s"):
        found.welcome(_config("any"), NATIVE, USER)
    later = admission.time.monotonic() + admission.BAN_DURATION_S + 1
    monkeypatch.setattr(admission.time, "monotonic", lambda: later)
    found.welcome(_config("any"), NATIVE, USER)
