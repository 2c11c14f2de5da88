"""How many of something users may have; root and notifyd's own user have a share of their own."""

from __future__ import annotations

import os
from collections import Counter

__all__ = ["UserQuota", "is_trusted"]


def is_trusted(uid: int) -> bool:
    """Whether a user is root or the one that notifyd runs as."""
    return uid in (0, os.geteuid())


class UserQuota:
    """Counts what users have. Others can fill their places, under many ids: root still gets in.

    Args:
        most: how many all others may have together, and root and we each.
        most_per_user: how many one of those others may have.
    """

    def __init__(self, most: int, most_per_user: int) -> None:
        self._most = most
        self._most_per_user = most_per_user
        self._taken: Counter[int] = Counter()

    def crowd(self, uid: int, what: str) -> str:
        """What leaves a user no room: `10 connections`, or `10 connections of user 7`."""
        own = self._taken[uid]
        if is_trusted(uid):
            return f"{own} {what}"
        if own >= self._most_per_user:
            return f"{own} {what} of user {uid}"
        return f"{self._taken.total()} {what}"

    def has_room(self, uid: int) -> bool:
        """Whether a user may have one more."""
        if is_trusted(uid):
            return self._taken[uid] < self._most
        return self._taken.total() < self._most and self._taken[uid] < self._most_per_user

    def enter(self, uid: int) -> None:
        """A user has one more."""
        self._taken[uid] += 1

    def leave(self, uid: int) -> None:
        """A user has one less."""
        self._taken[uid] -= 1
        if not self._taken[uid]:
            del self._taken[uid]
