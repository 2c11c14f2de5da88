"""What a question binds: an answer holds for nothing that differs from what was asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from notifyd.policy.call import ID, RawCall
from notifyd.policy.evaluation import Decision
from notifyd.policy.fields import Path
from notifyd.policy.operations import Exec

__all__ = ["bound_to", "is_plain"]


def bound_to(decision: Decision) -> str:
    """Name what a decision to ask is about, as 64 hexadecimal digits.

    The operation, and what the rule looked at; or in the place of that its own `key`. And what
    later rule files make of the call, which no key stands for.

    Raises:
        WouldBlock, NotifydError: arguments of a program that no rule has looked at yet.
    """
    # Invariant: what a person approved is what happens (DESIGN, invariant 12). Nothing here is cut,
    # and nothing made harmless, since then two could look the same.
    call, ask = decision.call, decision.verdict
    parts: list[object] = ["" if call is None else call.operation, *_made(decision)]
    if ask.key is not None:  # type: ignore[union-attr]
        parts += ["key", ask.key]  # type: ignore[union-attr]
    else:
        parts += ["text", ask.question, *_looked_at(decision)]  # type: ignore[union-attr]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def is_plain(decision: Decision) -> bool:
    """Whether it is known what the rule looked at: not where it read memory of a raw call."""
    call = decision.call
    keyed = decision.verdict.key is not None  # type: ignore[union-attr]
    return keyed or not (isinstance(call, RawCall) and call.looked)


def _made(decision: Decision) -> Iterator[object]:
    if decision.made_later is not None:
        changes, grant = decision.made_later
        yield sorted((name, repr(value)) for name, value in changes.items())
        yield grant


def _looked_at(decision: Decision) -> Iterator[object]:
    call: Any = decision.call
    if isinstance(call, Exec):
        yield from (("argv", call.argv), ("path", call.path))  # that is what is executed
    if isinstance(call, RawCall):
        yield call.syscall
        if not is_plain(decision):
            yield call.note[ID]
    if call is None:
        return
    within = _within_paths(call, decision.seen)
    for name in sorted(decision.seen - within):
        yield name, call.seen.get(name)


def _within_paths(call: Any, seen: frozenset[str]) -> set[str]:
    """The fields that a resolved path stands for: its text, and the directory it starts from."""
    found: set[str] = set()
    for name, field in call.fields.items():
        if isinstance(field, Path) and name in seen:
            found |= {field.pathname, field.dirfd or ""}
    return found
