"""Putting a call into words: its arguments as they stand in an event.

This is done for every call that is audited, so what can be known beforehand is: where each argument
lies, and the words for registers that came before. The same flags come again and again, and naming
them costs more than looking them up.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import Any, NamedTuple

from notifyd.errors import RuleError, TargetFault
from notifyd.policy.bound import BoundCall, Variant
from notifyd.policy.fields import Field, text
from notifyd.policy.note import ARG0
from notifyd.policy.sources import Reg

_six = Struct(">6Q").pack
WORDING_CACHE_SIZE = 1024  # words kept of one argument; a hostile target makes as many as it likes


class Part(NamedTuple):
    """One argument.

    Attributes:
        name: the field's, and `field` itself.
        register: its place in the note; 0 if it lies elsewhere.
        mask: the bits of it that decide the words; 0 if other registers do so too.
        gate: the place of a register that says whether it counts, and `bits` of which one must be
            set; 0 if it always does.
        known: words by value.
        unsourced: it has no place of its own in the call, as a resolved path.
    """

    name: str
    field: Field[Any]
    register: int
    mask: int
    gate: int
    bits: int
    known: dict[Any, Any]
    unsourced: bool


def words(call: BoundCall, parts: tuple[Part, ...]) -> dict[str, Any]:
    """The arguments of `call`. Not a rule's look: `call.looked` stays as it is.

    Raises:
        TargetGone: as for `Call.read`, where an argument in memory was not read yet.
    """
    looked, note, seen = call.looked, call.note, call.seen
    found: dict[str, Any] = {}
    for name, field, register, mask, gate, bits, known, unsourced in parts:
        if gate and not note[gate] & bits:
            continue
        if register:
            key = note[register] & mask if mask else note
            value = known.get(key)
            found[name] = _learn(call, field, known, key) if value is None else value
            continue
        value = seen.get(name)
        if value.__class__ is bytes:
            found[name] = text(value)
        elif value is not None or not unsourced:
            value = _look(call, field)
            if value is not None:
                found[name] = value
    call.looked = looked
    return found


def registers(note: tuple[int, ...]) -> dict[str, Any]:
    """The argument registers as hexadecimal numbers, in one text; for a call that has no fields."""
    return {"registers": _six(*note[ARG0:]).hex(" ", 8)}


@cache  # as many as there are variants; names can differ between architectures
def parts_of(operation: Any, variant: Variant, arch: int) -> tuple[Part, ...]:  # noqa: ARG001
    """What an event shows of a call, in the order of the operation's fields."""
    parts = []
    for name, field in operation.fields.items():
        source = variant.sources.get(name)
        if isinstance(source, Reg) and not field.memory:
            mask = 0 if field.depends else (1 << field.shown_width) - 1
            gate, bits = _gate(field, variant)
            parts.append(Part(name, field, ARG0 + source.index, mask, gate, bits, {}, False))
        elif field.derived or field.memory or source is not None:
            parts.append(Part(name, field, 0, 0, 0, 0, {}, source is None))
    return tuple(parts)


def _gate(field: Field[Any], variant: Variant) -> tuple[int, int]:
    name, bits = field.counts_with
    source = variant.sources.get(name)
    return (ARG0 + source.index, bits) if isinstance(source, Reg) else (0, 0)


def _learn(call: BoundCall, field: Field[Any], known: dict[Any, Any], key: Any) -> Any:
    if len(known) >= WORDING_CACHE_SIZE:
        known.clear()
    value = known[key] = field.render(call)
    return value


def _look(call: BoundCall, field: Field[Any]) -> Any:
    try:
        return field.render(call)
    except (TargetFault, RuleError):
        return "(unreadable)"
