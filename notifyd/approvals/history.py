"""Which of the questions of before somebody asks for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HistoryFilter"]


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which questions. Globs, as in a shell; "" is any.

    Attributes:
        key: compared as it is; then so is `rule`.
        person: who answered.
        most: how many, the latest ones.
    """

    workload: str = ""
    rule: str = ""
    key: str = ""
    operation: str = ""
    exe: str = ""
    person: str = ""
    state: str = ""
    most: int = 20
