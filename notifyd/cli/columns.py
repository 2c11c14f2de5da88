"""Rows of text as columns. Knows nothing of what they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["columns"]


def columns(rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Lines with every column as wide as its widest text; the last one is not padded."""
    table = [list(row) for row in rows]
    count = max((len(row) for row in table), default=0)
    widths = [max(len(row[at]) for row in table if at < len(row)) for at in range(count)]
    return [
        (
            indent + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False))
        ).rstrip()
        for row in table
    ]
