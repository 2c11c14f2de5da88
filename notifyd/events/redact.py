"""Fields that must not be written down: taken out before anything is encoded, with a mark.

Knows no sink: what is hidden here, no file, reader, journal or database gets to see.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from notifyd.events.record import Line

__all__ = ["HIDDEN", "UNREDACTED_FIELDS", "Redactor"]

HIDDEN = "[redacted]"
# Without these a record says nothing; `racy` and `cause` are no more than marks themselves.
UNREDACTED_FIELDS = frozenset({"event", "time", "level", "racy", "cause", "redacted"})

_FIELDS = tuple(name for name in Line.__struct_fields__ if name not in UNREDACTED_FIELDS)


class Redactor:
    """Hides fields by their names.

    Args:
        globs: as in a shell; fields within others with a dot between, as `args.path` or `args.*`.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self._match = re.compile("|".join(map(fnmatch.translate, globs)) or r"(?!)").match
        self._fields = [name for name in _FIELDS if name != "args" and self._match(name)]
        self._all = bool(self._match("args"))

    def line(self, line: Line) -> None:
        """Hide fields of a call that is to be written. Hot where anything is hidden at all."""
        found = []
        for name in self._fields:
            if getattr(line, name) is not None:
                setattr(line, name, HIDDEN)
                found.append(name)
        if line.args:
            line.args, hidden = self._hidden(line.args, "args.", all_of_it=self._all)
            found += hidden
        line.redacted = found or None

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of any other event, without what is hidden."""
        kept, found = self._hidden(fields, "", all_of_it=False)
        return {**kept, "redacted": found} if found else kept

    def _hidden(
        self, fields: Mapping[Any, Any], prefix: str, *, all_of_it: bool
    ) -> tuple[dict[str, Any], list[str]]:
        kept, found = dict[str, Any](), list[str]()
        for key, value in fields.items():
            name = f"{prefix}{key}"
            if name in UNREDACTED_FIELDS or value is None:
                kept[key] = value
            elif all_of_it or self._match(name):
                kept[key] = HIDDEN
                found.append(name)
            elif isinstance(value, Mapping):
                kept[key], inner = self._hidden(value, f"{name}.", all_of_it=False)
                found += inner
            else:
                kept[key] = value
        return kept, found
