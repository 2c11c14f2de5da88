"""Checking plain data against msgspec types, without stopping at the first mistake."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

__all__ = ["Mistake", "Where", "validated"]

T = TypeVar("T", bound=msgspec.Struct)
Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong.

    Attributes:
        where: keys and numbers that lead to it, from the top.
        said: what is wrong, and what would be right.
    """

    where: Where
    said: str


def validated(data: Mapping[str, Any], kind: type[T]) -> tuple[T | None, list[Mistake]]:
    """Data as a value of a type; None and all that is in the way, if it is not one."""
    mistakes: list[Mistake] = []
    _check(data, kind, (), mistakes)
    if mistakes:
        return None, mistakes
    return msgspec.convert(data, kind, strict=True), []


def _check(data: Any, kind: Any, where: Where, mistakes: list[Mistake]) -> None:
    struct, element, value = _struct_in(kind), _element_in(kind), _value_in(kind)
    if struct is not None and isinstance(data, dict):
        _check_table(data, struct, where, mistakes)
    elif value is not None and isinstance(data, dict):
        for key, one in data.items():
            _check(one, value, (*where, key), mistakes)
    elif element is not None and isinstance(data, list) and data:
        for at, one in enumerate(data):
            _check(one, element, (*where, at), mistakes)
    else:
        try:
            msgspec.convert(data, kind, strict=True)
        except msgspec.ValidationError:
            said = _described(kind) or _in_words(kind)
            mistakes.append(Mistake(where, f"{spelt(where)}: expected {said}"))


def _check_table(
    data: dict[str, Any], struct: type[msgspec.Struct], where: Where, mistakes: list[Mistake]
) -> None:
    hints = typing.get_type_hints(struct, include_extras=True)
    fields = {one.encode_name: one for one in msgspec.structs.fields(struct)}
    meant = set(data)
    for key, value in data.items():
        if key in fields:
            _check(value, hints[fields[key].name], (*where, key), mistakes)
            continue
        near = difflib.get_close_matches(key, fields, 1)
        meant.update(near)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
        mistakes.append(Mistake((*where, key), f"{spelt((*where, key))}: no such key; {hint}"))
    for key, field in fields.items():
        if field.required and key not in meant:
            mistakes.append(Mistake(where, f"{spelt((*where, key))} is missing: give it"))


def spelt(where: Where) -> str:
    """`workload[1].match.id`, the first being 1."""
    text = ""
    for part in where:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _described(kind: Any) -> str:
    """What a type says of itself, or a part of a choice."""
    for one in (kind, *(get_args(kind) if _is_choice(kind) else ())):
        for meta in get_args(one) if get_origin(one) is Annotated else ():
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


_WORDS = {str: "a text", int: "a number", float: "a number", bool: "true or false", dict: "a table"}


def _in_words(kind: Any) -> str:
    """What a type takes."""
    kind = _bare(kind)
    origin = get_origin(kind)
    if _is_choice(kind):
        parts = [_described(one) or _in_words(one) for one in get_args(kind) if one is not NoneType]
        return " or ".join(dict.fromkeys(parts))
    if origin is Literal:
        return " or ".join(f'"{one}"' for one in get_args(kind))
    if origin is list:
        (element,) = get_args(kind)
        return f"a list, each {_described(element) or _in_words(element)}"
    return _WORDS.get(origin or kind, "a table")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if _is_choice(kind):
        found = [one for one in map(_struct_in, get_args(kind)) if one is not None]
        return found[0] if found else None
    return None


def _element_in(kind: Any) -> Any:
    """The type of a list's elements, if they are tables."""
    kind = _bare(kind)
    if get_origin(kind) is list and _struct_in(get_args(kind)[0]) is not None:
        return get_args(kind)[0]
    return None


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _value_in(kind: Any) -> Any:
    """The type of a table's values, if its keys are free."""
    kind = _bare(kind)
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
