"""What the catalogue says of one kind of event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["EventKind"]


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event.

    Attributes:
        summary: when it happens, one sentence.
        fields: their meaning by name, in the order of the reference page. None need be there.
        says: the sentence for a terminal; `{name}` stands for a field.
    """

    summary: str
    fields: Mapping[str, str]
    says: str = field(default="")
