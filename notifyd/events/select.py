"""Choosing events that were read back: by time, path, person and so on."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from notifyd.errors import UsageError

__all__ = ["PATHS", "Selection", "moment", "seconds_of"]

PATHS = ("path", "oldpath", "newpath", "linkpath", "target", "pathname", "oldpathname")
"""The arguments of calls that are paths."""

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"([0-9]{1,6})([smhdw])")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for: all of what is given has to fit. Globs, as in a shell; "" is any.

    An event that has no such field does not fit.

    Attributes:
        since: a time as events have it: none before it.
        until: the same: none after it.
        event: the event's name.
        path: any path of a call.
        by: the person who answered, with or without where: `root by ctl`, or `root`.
    """

    since: str = ""
    until: str = ""
    event: str = ""
    workload: str = ""
    operation: str = ""
    verdict: str = ""
    path: str = ""
    by: str = ""
    rule: str = ""

    def fits(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, of any shape, is asked for."""
        time = str(event.get("time", ""))
        if (self.since and time < self.since) or (self.until and time > self.until):
            return False
        for one in fields(self)[2:]:
            glob = getattr(self, one.name)
            if glob and not any(
                fnmatch.fnmatchcase(text, glob) for text in _texts(event, one.name)
            ):
                return False
        return True


def moment(text: str, now: datetime | None = None) -> str:
    """A time as events have it: of `1h`, which is so long ago, or of `2026-10-05T12:00`.

    Args:
        text: what a person gives. Without a zone it is this machine's.
        now: default is now.

    Raises:
        UsageError: it is neither.
    """
    if _AGE.fullmatch(text):
        found = (now or datetime.now(UTC)) - timedelta(seconds=seconds_of(text))
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is not a time: give 30m, 12h or 7d for so long ago, or 2026-10-05T12:00"
            ) from error
    return found.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(age: str) -> int:
    """A number of seconds, as `12h` means it."""
    return int(age[:-1]) * _AGES[age[-1]]


def _texts(event: Mapping[str, Any], name: str) -> Iterator[str]:
    """The parts of an event that a filter tests."""
    places: list[Mapping[str, Any]] = [event]
    names: tuple[str, ...] = (name,)
    if name == "path":
        args = event.get("args")
        places, names = [event, args if isinstance(args, dict) else {}], PATHS
    for place in places:
        for one in names:
            if place.get(one) is not None:
                yield str(place[one])
                if name == "by":
                    yield str(place[one]).rpartition(" by ")[0]
