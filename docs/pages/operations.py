"""What rules can be about."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from notifyd.kernel.arch import ARCHES
from notifyd.perform import FILE_PERFORMERS
from notifyd.policy.bound import Variant
from notifyd.policy.call import Call
from notifyd.policy.fields import Field
from notifyd.policy.operations import OPERATIONS, Exec
from notifyd.policy.sources import Const, Pair, Reg, Reg16
from pages.markdown import markdown, table, unique

_IN_REGISTERS = (Reg, Reg16, Pair)


def operations() -> str:
    """What rules can be about."""
    ordered = sorted(OPERATIONS.values(), key=lambda one: (one.theme, one.__name__))
    parts = [
        "# Operations",
        "An operation is what several system calls have in common. A rule names operations, so no "
        "sibling of a call can be forgotten.",
        "A field that is a *register* may stand in `@on(...)` and `always(...)` as a condition, "
        "which the kernel tests. Looking at a field in *memory* means reading the program's "
        "memory: `Allow()` is then [performed](../explanation/what-allow-means.md), or refused "
        "where notifyd cannot perform the operation.",
    ]
    for theme, members in groupby(ordered, key=lambda one: one.theme):
        listed = list(members)
        names = " · ".join(f"[{one.__name__}](#{one.__name__.lower()})" for one in listed)
        parts += [f"**{theme}**: {names}"]
    parts += [operation(one) for one in sorted(ordered, key=lambda one: one.__name__)]
    return "\n\n".join(parts)


def operation(one: type[Call]) -> str:
    """The section of one operation."""
    done = one in FILE_PERFORMERS
    performed = "performed by notifyd" if done else "refused"
    if one is Exec:
        performed = "[verified](../explanation/what-allow-means.md#exec) by notifyd"
    parts = [
        f"## {one.__name__}",
        markdown(one),
        "System calls: " + ", ".join(unique(map(call_name, one.variants))) + ".",
        f"`Allow()` after a look at memory: {performed}.",
    ]
    if one.fields:
        rows = [
            (f"`{name}`", field.kind, place(one, field), field.summary)
            for name, field in one.fields.items()
        ]
        parts.append(table(("field", "kind", "lies in", "meaning"), rows))
    if properties := list(own_properties(one)):
        parts.append("Also: " + "; ".join(f"`{name}`, {text}" for name, text in properties) + ".")
    return "\n\n".join(part for part in parts if part)


def call_name(variant: Variant) -> str:
    """A system call, with what is special about it."""
    having = [arch.name for arch in ARCHES.values() if variant.syscall in arch.numbers]
    marks = [] if len(having) == len(ARCHES) else [" and ".join(having)]
    marks += [f"register {at} is {value}" for at, value in variant.when]
    return f"`{variant.syscall}`" + (f" ({', '.join(marks)})" if marks else "")


def place(one: type[Call], field: Field[Any]) -> str:
    """Where a field lies: in a register, in memory, or both, depending on the call."""
    if field.memory:
        return "memory"
    having = [variant for variant in one.variants if field.name in variant.sources]
    hidden = [
        variant.syscall
        for variant in having
        if not isinstance(variant.sources[field.name], (*_IN_REGISTERS, Const))
    ]
    if len(hidden) == len(having) and having:
        return "memory"
    calls = ", ".join(f"`{name}`" for name in unique(hidden))
    return f"register; memory in {calls}" if hidden else "register"


def own_properties(one: type[Call]) -> Iterator[tuple[str, str]]:
    """Public properties of an operation and their first sentences."""
    for name in sorted(vars(one)):
        member = vars(one)[name]
        if isinstance(member, property) and not name.startswith("_"):
            text = (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")
            yield name, text[:1].lower() + text[1:].rstrip(".")
