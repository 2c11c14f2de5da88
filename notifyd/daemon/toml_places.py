"""On which line of a TOML file something stands. tomllib does not tell.

A reading aid for error messages, not a parser: the file is known to be good TOML.
"""

from __future__ import annotations

import re

from notifyd.daemon.validate import Where

__all__ = ["Places"]

_HEADER = re.compile(r"^\s*\[(\[?)\s*([^\]]+?)\s*\]")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_KEY = re.compile(rf"^\s*((?:{_PART.pattern})(?:\s*\.\s*(?:{_PART.pattern}))*)\s*=")


class Places:
    """The lines of a file, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Where, int] = {}
        counts: dict[Where, int] = {}
        table: Where = ()
        for number, line in enumerate(text.splitlines(), 1):
            header, key = _HEADER.match(line), _KEY.match(line)
            if header is not None:
                table = self._table(_parts(header[2]), bool(header[1]), counts)
                self._note(table, number)
            elif key is not None:
                self._note((*table, *_parts(key[1])), number)

    def line(self, where: Where) -> int:
        """The line of a key or a section, or of the nearest thing around it."""
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines.get(where, 1)

    def _note(self, where: Where, number: int) -> None:
        for length in range(1, len(where) + 1):
            self._lines.setdefault(where[:length], number)

    def _table(self, parts: Where, is_array: bool, counts: dict[Where, int]) -> Where:
        """Where a header leads: an array's name means its last element, or a new one."""
        found: Where = ()
        for at, part in enumerate(parts):
            found = (*found, part)
            last = at == len(parts) - 1
            if is_array and last:
                counts[found] = counts.get(found, -1) + 1
            if found in counts:
                found = (*found, counts[found])
        return found


def _parts(text: str) -> Where:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
