"""Events as bytes: one JSON object a line, `event` first. Pure; knows no file and no logger.

Calls are many, so they are encoded in batches on a way without looking at each character: the line
is made, and only where it shows that a text is long or strange is it made again with care.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from notifyd.events.errnos import errno_name
from notifyd.events.record import CallRecord, Line
from notifyd.events.sanitize import MAX_TEXT_BYTES, fields_to_json, json_line, to_json

__all__ = ["encode_calls", "encode_event", "encode_lines", "line_of"]

_ENCODER = msgspec.json.Encoder()
_DIGITS = tuple(f"{number:03d}" for number in range(1000))  # a look-up is twice as fast as :06d
_NOBODY = (None, None, None)


def encode_calls(records: Sequence[CallRecord]) -> bytes:
    """The `call` events of `records`, a line each, in their order; see `encode_lines`."""
    return encode_lines([line_of(one) for one in records])


def encode_lines(lines: Sequence[Line]) -> bytes:
    """The `call` events of `lines`, in their order. Their `time` becomes text.

    A text of more than 8 KiB is cut and says how much is missing. Never raises.
    """
    _stamp_all(lines)
    try:
        data = _ENCODER.encode_lines(lines)
    except Exception:  # a lone surrogate, an object that JSON has no word for: found by `to_json`
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
    line = {"event": to_json(name), "time": _stamp(now)}
    rest = fields_to_json(fields)
    line.update((key, value) for key, value in rest.items() if key not in line)
    return json_line(_ENCODER.encode(line)) + b"\n"


def _stamp_all(lines: Sequence[Line]) -> None:
    """Hot: every instruction here is paid for each call."""
    digits, begin, prefix = _DIGITS, 0, ""
    for line in lines:
        now: Any = line.time
        nanoseconds = now - begin
        if not 0 <= nanoseconds < 1_000_000_000:
            second, nanoseconds = divmod(now, 1_000_000_000)
            begin, prefix = now - nanoseconds, _second(second)
        micros = nanoseconds // 1000
        line.time = f"{prefix}{digits[micros // 1000]}{digits[micros % 1000]}Z"


def line_of(r: CallRecord) -> Line:
    """What is written of a record."""
    exe, uid, process = r.identity.who if r.identity else _NOBODY
    # fmt: off
    return Line(
        r.time_ns, r.workload, r.identity.pid if r.identity else None, r.tid, exe, uid, process,
        r.operation, r.syscall, r.arch, fields_to_json(r.args) if r.args else None, r.verdict,
        r.how,
        errno_name(r.errno) if r.errno else None, r.value, r.rule, r.reason, r.racy,
        (r.took_ns + 50) // 100 / 10, round(r.waited_ns / 1e9, 6) if r.waited_ns else None,
        r.approval or None, r.cause or None,
    )
    # fmt: on


def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))


def _stamp(time_ns: int) -> str:
    """RFC 3339, UTC, microseconds."""
    second, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{_second(second)}{nanoseconds // 1000:06d}Z"


def _is_short(data: bytes) -> bool:
    """Whether no line, and so no text in one, is above the limit."""
    start = 0
    while len(data) - start > MAX_TEXT_BYTES:
        # jumps over many lines at once
        start = data.rfind(b"\n", start, start + MAX_TEXT_BYTES) + 1
        if not start:
            return False
    return True


def _mended(piece: bytes, line: Line) -> bytes:
    return _with_care(line) if len(piece) > MAX_TEXT_BYTES else json_line(piece) + b"\n"


def _with_care(line: Line) -> bytes:
    fields = {"event": "call", **fields_to_json(msgspec.structs.asdict(line))}
    if not line.racy:
        del fields["racy"]
    return json_line(_ENCODER.encode(fields)) + b"\n"
