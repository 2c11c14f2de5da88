"""An event as replaying reads it: the fields that matter, with their types checked."""

from __future__ import annotations

from typing import Any

import msgspec

from notifyd.events.event import EVENTS

__all__ = ["CALL", "Event", "event_of"]

CALL = "call"


class Event(msgspec.Struct, frozen=True, gc=False):
    """A line of a record. The fields of a call are as in `audit.event`; those not there are None.

    Attributes:
        rules: of `workload.started` and `rules.loaded`: whose verdicts these are.
        kernel: of `rules.loaded`: the operations that the kernel decided by itself.
        redacted: the names of fields that were hidden when it was written; they are not here.
    """

    event: str
    time: str | None = None
    workload: str | None = None
    pid: int | None = None
    tid: int | None = None
    exe: str | None = None
    uid: int | None = None
    process: str | None = None
    operation: str | None = None
    syscall: str | None = None
    arch: str | None = None
    args: dict[str, Any] | None = None
    verdict: str | None = None
    how: str | None = None
    errno: str | None = None
    value: int | None = None
    rule: str | None = None
    reason: str | None = None
    cause: str | None = None
    rules: list[str] | None = None
    kernel: list[str] | None = None
    redacted: list[str] | None = None


class _Other(msgspec.Struct):
    """An event whose fields may be called like a call's, and be something else."""

    event: str
    rules: Any = None
    kernel: Any = None
    redacted: Any = None


_DECODER = msgspec.json.Decoder(Event)
_OTHERS = msgspec.json.Decoder(_Other)


def event_of(line: bytes) -> Event:
    """The event of a line.

    Raises:
        msgspec.ValidationError: it is JSON, and no event of ours.
        msgspec.DecodeError: it is not complete JSON.
    """
    try:
        event = _DECODER.decode(line)
        if event.redacted:
            event = _unredacted(line, event.redacted)
    except msgspec.ValidationError:
        other = _OTHERS.decode(line)
        if other.event != CALL:
            event = Event(other.event, rules=_names(other.rules), kernel=_names(other.kernel))
        elif hidden := _names(other.redacted):
            event = _unredacted(line, hidden)
        else:
            raise
    if event.event not in EVENTS:
        raise msgspec.ValidationError(f"no event of ours is called {event.event[:80]!r}")
    return event


def _unredacted(line: bytes, hidden: list[str]) -> Event:
    """The event without its redacted fields: the mark is not a value."""
    data: dict[str, Any] = msgspec.json.decode(line)
    for name in hidden:
        first, dot, rest = name.partition(".")
        args = data.get("args")
        if not dot:
            data.pop(name, None)
        elif first == "args" and isinstance(args, dict):
            args.pop(rest.partition(".")[0], None)
    return msgspec.convert(data, Event)


def _names(given: Any) -> list[str] | None:
    names = isinstance(given, list) and all(isinstance(one, str) for one in given)
    return given if names else None
