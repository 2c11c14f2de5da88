"""Subordinate user ids: which user a range of ids was given to, by subuid(5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from notifyd.daemon.config import uid_of

__all__ = ["SUBUID", "users_behind"]

SUBUID = Path("/etc/subuid")
MAX_SUBID_BYTES = 1 << 20  # bytes that are read of it


def users_behind(uids: Iterable[int], file: Path = SUBUID) -> set[int]:
    """The ids themselves, and those of the users whom they are subordinate to.

    A process of such an id may be in no user namespace any more: it may have been executed from a
    set-user-ID file that was made in one.
    """
    found = set(uids)
    ranges = list(_ranges(file))
    return found | {
        owner for owner, first, count in ranges for uid in found if first <= uid < first + count
    }


def _ranges(file: Path) -> Iterator[tuple[int, int, int]]:
    """Owner, first id and how many; unreadable lines grant nothing."""
    try:
        with file.open("rb") as lines:
            text = lines.read(MAX_SUBID_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return
    for line in text.splitlines():
        name, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        owner = int(name) if name.isdecimal() else uid_of(name)
        if owner is not None and first.isdecimal() and count.isdecimal():
            yield owner, int(first), int(count)
