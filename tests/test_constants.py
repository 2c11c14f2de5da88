"""A constant is defined once: no two modules give one value the same name."""

from __future__ import annotations

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
MODULES = [path for path in (ROOT / "notifyd").rglob("*.py") if path.name != "__main__.py"]


def constants(path: Path) -> Iterator[tuple[str, object]]:
    """The constants that a module defines, several in one line too, with their values."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    for node in ast.parse(path.read_bytes(), path).body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        else:
            targets = [node.target] if isinstance(node, ast.AnnAssign) and node.value else []
        for one in (inner for target in targets for inner in ast.walk(target)):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id.isupper():
                yield one.id, getattr(module, one.id)


def in_words(value: object) -> str:
    """A value, for comparing: a struct is what it is made of."""
    return f"Struct({value.format!r})" if isinstance(value, Struct) else repr(value)


def test_a_constant_is_defined_once() -> None:
    """Private or not. A number of the kernel's is in `kernel`, where all may have it from."""
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in MODULES:
        for name, value in constants(path):
            if not isinstance(value, TypeVar):
                places[name.strip("_"), in_words(value)].add(str(path.relative_to(ROOT)))
    assert {one: sorted(where) for one, where in places.items() if len(where) > 1} == {}
