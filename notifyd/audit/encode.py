"""Events as bytes: one JSON object a line, `event` first. Pure; knows no file and no logger.

Calls are many, so they are encoded in batches on a way without looking at each character: the line
is made, and only where it shows that a text is long or strange is it made again with care.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from notifyd.audit.errnos import ERRNO_NAMES, errno_name
from notifyd.audit.harmless import LIMIT, json_line, tidy, tidy_fields
from notifyd.audit.record import Record
from notifyd.target.identity import Identity

__all__ = ["encode_calls", "encode_event"]

_ENCODER = msgspec.json.Encoder()
# pid, exe, uid and process: what an identity gives to a line.
_Who: TypeAlias = tuple[int | None, str | None, int | None, str | None]
_DIGITS = tuple(f"{number:03d}" for number in range(1000))  # a look-up is twice as fast as :06d
_NOBODY: _Who = (None, None, None, None)


class _Line(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event", tag="call"
):
    """The fields of `call` in the order in which they are written."""

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
    racy: bool = False
    took_us: float | None = None
    waited_s: float | None = None


def encode_calls(records: Sequence[Record]) -> bytes:
    """The `call` events of `records`, a line each, in their order.

    A text of more than 8 KiB is cut and says how much is missing. Never raises.
    """
    lines = _lines(records)
    try:
        data = _ENCODER.encode_lines(lines)
    except Exception:  # a lone surrogate, an object that JSON has no word for: found by `tidy`
        return b"".join(map(_with_care, lines))
    if data.isascii() and b"\x7f" not in data and _is_short(data):
        return data
    pieces = data.split(b"\n")
    return b"".join(map(_mended, pieces, lines))


def encode_event(name: str, fields: Mapping[str, Any], time_ns: int | None = None) -> bytes:
    """The line of any event.

    Args:
        name: as in the catalogue, `notifyd.audit.event`.
        fields: those that are None are left out; `event` and `time` cannot be among them.
        time_ns: nanoseconds since 1970, UTC; default is now.
    """
    now = time.time_ns() if time_ns is None else time_ns
    line = {"event": tidy(name), "time": _stamp(now)}
    rest = tidy_fields(fields)
    line.update((key, value) for key, value in rest.items() if key not in line)
    return json_line(_ENCODER.encode(line)) + b"\n"


def _lines(records: Sequence[Record]) -> list[_Line]:
    """Hot: every instruction here is paid for each call."""
    lines: list[_Line] = []
    append, digits, names = lines.append, _DIGITS, ERRNO_NAMES
    # By id(), as hashing an identity costs more than the rest: `records` keeps them all alive.
    known: dict[int, _Who] = {}
    last: Identity | None = None
    pid, exe, uid, process = _NOBODY
    second = -1
    prefix = ""
    for r in records:
        now = r.time_ns
        if now // 1_000_000_000 != second:
            second = now // 1_000_000_000
            prefix = _second(second)
        micros = now % 1_000_000_000 // 1000
        identity = r.identity
        if identity is not last:
            last = identity
            who = known.get(id(identity)) or known.setdefault(id(identity), _who(identity))
            pid, exe, uid, process = who
        args = r.args
        if args:
            for value in args.values():
                kind = value.__class__
                if kind is not str and kind is not int:
                    args = tidy_fields(args)
                    break
        errno = r.errno
        # fmt: off
        append(_Line(
            f"{prefix}{digits[micros // 1000]}{digits[micros % 1000]}Z",
            r.workload, pid, r.tid, exe, uid, process, r.operation, r.syscall, r.arch,
            args or None, r.verdict, r.how,
            (names.get(errno) or errno_name(errno)) if errno else None,
            r.value, r.rule, r.reason, r.racy, (r.took_ns + 50) // 100 / 10,
            round(r.waited_ns / 1e9, 6) if r.waited_ns else None,
        ))
        # fmt: on
    return lines


def _who(identity: Identity | None) -> _Who:
    if identity is None:
        return _NOBODY
    exe = identity.exe.decode("utf-8", "backslashreplace") or None
    return identity.pid, exe, identity.uid, f"{identity.pid}@{identity.start}"


def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))


def _stamp(time_ns: int) -> str:
    """RFC 3339, UTC, microseconds."""
    second, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{_second(second)}{nanoseconds // 1000:06d}Z"


def _is_short(data: bytes) -> bool:
    """Whether no line, and so no text in one, is above the limit."""
    start = 0
    while len(data) - start > LIMIT:
        start = data.rfind(b"\n", start, start + LIMIT) + 1  # jumps over many lines at once
        if not start:
            return False
    return True


def _mended(piece: bytes, line: _Line) -> bytes:
    return _with_care(line) if len(piece) > LIMIT else json_line(piece) + b"\n"


def _with_care(line: _Line) -> bytes:
    fields = {"event": "call", **tidy_fields(msgspec.structs.asdict(line))}
    if not line.racy:
        del fields["racy"]
    return json_line(_ENCODER.encode(fields)) + b"\n"
