"""Text of targets made harmless: for JSON, and for a terminal. Knows no event.

A target chooses its paths and names, so they may hold escape sequences, marks that turn the writing
direction, halves of surrogate pairs, or a megabyte. What is written here shows all that and does
none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sized
from pathlib import PurePath
from typing import Any

MAX_TEXT_BYTES = 8192  # bytes of UTF-8 in one text of an event; twice PATH_MAX
_NOTE = 40  # of those, for "… (N more bytes)"
MAX_ITEMS = 256  # of one list or mapping in an event
MAX_DEPTH = 6  # levels of lists and mappings in an event


def cut(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """`text` itself, or its beginning and how many bytes more: `limit` bytes of UTF-8 in all.

    What was cut once stays as it is when it is cut again.
    """
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8")
    if len(data) <= limit:
        return text
    head = data[: limit - _NOTE].decode("utf-8", "ignore")
    return f"{head}… ({len(data) - len(head.encode('utf-8'))} more bytes)"


def whole(text: str) -> str:
    r"""`text` without lone surrogates: a byte that was no UTF-8 becomes `\xNN`."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def printable(text: str, limit: int = 160) -> str:
    r"""`text` for a terminal: one line of at most `limit` characters that moves nothing.

    Whatever is not printable (controls, escape sequences, marks of direction, strange spaces)
    becomes `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
    """
    more = len(text) - limit
    if more > 0:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return f"{text}… ({more} more)" if more > 0 else text


def json_line(line: bytes) -> bytes:
    r"""A line of JSON with whatever is not printable as `\uNNNN`. Its meaning stays the same.

    Such characters stand only inside JSON's strings, so that they can be escaped where they are.
    """
    text = line.decode("utf-8")
    if text.isprintable():
        return line
    return "".join(c if c.isprintable() else _json_escaped(c) for c in text).encode("utf-8")


def to_json(value: Any, depth: int = 0) -> Any:
    """`value` as what JSON can say: whole texts within the limits, no fields that are None.

    Never raises. Bytes become text, other objects their `str`, a number beyond 64 bits its
    hexadecimal text.
    """
    if isinstance(value, str):
        return cut(whole(str(value)))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else cut(hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, (bytes, bytearray)):
        return cut(bytes(value).decode("utf-8", "backslashreplace"))
    return _object_to_json(value, depth)


def fields_to_json(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """The fields that are there, each `to_json`."""
    there = [(name, value) for name, value in fields.items() if value is not None]
    most = _most(there)
    tidied = {_name(name): to_json(value, depth + 1) for name, value in there[:most]}
    if most < len(there):
        tidied["…"] = f"({len(there) - most} more)"
    return tidied


def _object_to_json(value: Any, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return "…"
    try:
        if isinstance(value, Mapping):
            return fields_to_json(value, depth)
        if isinstance(value, PurePath):
            return to_json(bytes(value))
        if isinstance(value, (list, tuple, set, frozenset)):
            return _items_to_json(list(value), depth)
        return to_json(str(value))
    except Exception as error:  # an object's own __str__; the event must be written nevertheless
        return f"({type(value).__name__}: {type(error).__name__})"


def _items_to_json(items: list[Any], depth: int) -> list[Any]:
    most = _most(items)
    tidied = [to_json(item, depth + 1) for item in items[:most]]
    if most < len(items):
        tidied.append(f"(and {len(items) - most} more)")
    return tidied


def _most(items: Sized) -> int:
    """How many are shown; one place less if it is needed to say how many are not."""
    return len(items) if len(items) <= MAX_ITEMS else MAX_ITEMS - 1


def _name(name: Any) -> str:
    text: str = to_json(name if isinstance(name, (str, bytes)) else str(name))
    return text


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escaped(character: str) -> str:
    code = ord(character)
    units: Iterable[int] = (code,)
    if code > 0xFFFF:  # RFC 8259, section 7: a pair of UTF-16 surrogates
        units = (0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF))
    return "".join(f"\\u{unit:04x}" for unit in units)
