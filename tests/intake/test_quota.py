"""Quotas: what one user cannot take from all others, nor all others from root and us."""

import os

import pytest

from notifyd.intake.quota import UserQuota

OTHERS = [uid for uid in (4001, 4002, 4003, 4004) if uid != os.geteuid()][:3]


@pytest.fixture
def quota():
    """Five places, of which one user has at most two."""
    return UserQuota(5, 2)


def fill(quota, uid):
    """Take places for a user as long as there are any; how many there were."""
    taken = 0
    while quota.has_room(uid):
        quota.enter(uid)
        taken += 1
    return taken


def test_one_user_has_a_part_of_them(quota):
    """And all others together have the rest, until one leaves."""
    assert [fill(quota, uid) for uid in OTHERS] == [2, 2, 1]
    quota.leave(OTHERS[0])
    assert not quota.has_room(OTHERS[1])
    assert fill(quota, OTHERS[2]) == 1
    assert quota.crowd(OTHERS[1], "places") == f"2 places of user {OTHERS[1]}"
    assert quota.crowd(OTHERS[0], "places") == "5 places"


@pytest.mark.parametrize("uid", sorted({0, os.geteuid()}))
def test_root_and_we_have_all_of_our_own(quota, uid):
    """However many the others have."""
    for other in OTHERS:
        fill(quota, other)
    assert fill(quota, uid) == 5


def test_who_has_none_is_forgotten(quota):
    """A user id that comes and goes leaves nothing behind."""
    for uid in range(5000, 6000):
        quota.enter(uid)
        quota.leave(uid)
    assert not quota._taken
    assert fill(quota, OTHERS[0]) == 2
