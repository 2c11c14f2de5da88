"""Markdown out of docstrings, help texts and rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any


def markdown(documented: Any) -> str:
    """A docstring as it is written: its paragraphs are Markdown already."""
    return inspect.getdoc(documented) or ""


def paragraphs(text: str | None) -> str:
    """A help text as Markdown: what click must not wrap (after a backspace) is an example."""
    parts = []
    for part in inspect.cleandoc(text or "").split("\n\n"):
        head, _, rest = part.partition("\n")
        parts.append(f"```console\n{rest}\n```" if head in ("\b", "\\b") else part)
    return "\n\n".join(parts)


def code_indented(text: str) -> str:
    """Indented examples of a rule's docstring as fenced blocks."""
    parts = []
    for part in text.split("\n\n"):
        if part.startswith("    "):
            part = f"```console\n{inspect.cleandoc(part)}\n```"
        parts.append(part)
    return "\n\n".join(parts)


def shown(default: object) -> str:
    """A default as a person would give it."""
    values = default if isinstance(default, tuple) else (default,)
    return ", ".join(f"`{value}`" for value in values) or "none"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def unique(items: Iterable[str]) -> list[str]:
    """Each once, in the order of the first."""
    return list(dict.fromkeys(items))
