"""What `notifyd rules` says about operations: the table of all, and a page for one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from notifyd.cli.columns import columns
from notifyd.errors import UsageError
from notifyd.kernel.arch import ARCHES
from notifyd.policy.bound import Variant
from notifyd.policy.call import Call
from notifyd.policy.fields import Field
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.sources import Const, Mem, Word

__all__ = ["as_data", "find_operation", "list_operations", "show_operation"]


def find_operation(name: str) -> type[Call]:
    """The operation of this name, in whatever case, or the one that a system call belongs to.

    Raises:
        UsageError: there is no such operation; the nearest name is suggested.
    """
    by_name = {known.lower(): operation for known, operation in OPERATIONS.items()}
    by_call = {one.syscall: op for op in OPERATIONS.values() for one in op.variants}
    found = by_name.get(name.lower()) or by_call.get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name.lower(), [*by_name, *by_call], 1)
    nearest = (by_name.get(near[0]) or by_call[near[0]]).title if near else ""
    hint = f"did you mean {nearest}?" if near else "Raw() takes any system call;"
    raise UsageError(
        f"no operation is named {name!r}; {hint} `notifyd rules --operations` lists them"
    )


def list_operations() -> list[str]:
    """A line for each operation, by theme."""
    lines: list[str] = []
    for theme in sorted({operation.theme for operation in OPERATIONS.values()}):
        named = [(name, op.summary) for name, op in OPERATIONS.items() if op.theme == theme]
        lines += [theme, *columns(named, "  "), ""]
    return lines[:-1]


def show_operation(operation: type[Call]) -> list[str]:
    """The page of one: what it means, its fields, its properties, its system calls."""
    lines = [operation.title, "", *inspect.cleandoc(operation.__doc__ or "").splitlines(), ""]
    lines.append("fields (those in registers can be conditions of @on and always)")
    lines += columns(
        (
            (name, field.kind, place(operation, name, field), field.summary)
            for name, field in operation.fields.items()
        ),
        "  ",
    )
    found = _properties(operation)
    if found:
        lines += ["", "and, for use inside a rule", *columns(found.items(), "  ")]
    lines += ["", "system calls"]
    lines += columns(((name, " ".join(on)) for name, on in _entries(operation).items()), "  ")
    return lines


def place(operation: type[Call], name: str, field: Field[Any]) -> str:
    """Where a field lies: `register`, `memory`, or in which calls it is which."""
    if field.memory:
        return "memory"
    if field.kind == "device":
        return "register, no condition"
    lying = [
        variant.syscall
        for variant in operation.variants
        if isinstance(variant.sources.get(name, Const(0)), (Mem, Word))
    ]
    others = [one for one in operation.variants if name in one.sources]
    if not lying:
        return "register"
    if len(lying) == len(others):
        return "memory"
    return f"register; memory in {', '.join(dict.fromkeys(lying))}"


def as_data(operation: type[Call]) -> Mapping[str, Any]:
    """An operation for `--json`."""
    return {
        "name": operation.title,
        "summary": operation.summary,
        "theme": operation.theme,
        "fields": [
            {
                "name": name,
                "kind": field.kind,
                "place": place(operation, name, field),
                "summary": field.summary,
            }
            for name, field in operation.fields.items()
        ],
        "syscalls": _entries(operation),
    }


def _properties(operation: type[Call]) -> dict[str, str]:
    common = set(dir(Call))
    return {
        name: (inspect.getdoc(value) or "").partition("\n")[0]
        for name, value in inspect.getmembers(operation)
        if isinstance(value, property) and name not in common
    }


def _entries(operation: type[Call]) -> dict[str, Sequence[str]]:
    """Every system call, and the architectures that have it."""
    found: dict[str, dict[str, None]] = {}
    for variant in operation.variants:
        found.setdefault(variant.syscall, {}).update(dict.fromkeys(_arches(variant)))
    return {name: list(arches) for name, arches in found.items()}


def _arches(variant: Variant) -> list[str]:
    return [
        arch.name
        for arch in ARCHES.values()
        if variant.syscall in arch.numbers and variant.arch in (None, arch.name)
    ]
