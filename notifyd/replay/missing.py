"""What a record does not have: the error of looking there, and the list of what was missed."""

from __future__ import annotations

from typing import NoReturn

from notifyd.errors import TargetGone

__all__ = ["Missing", "NotRecorded"]


class NotRecorded(TargetGone):
    """A rule read something that the record of the call does not have.

    As a `TargetGone` it ends the evaluation: a rule cannot be asked about a target that is not
    there.
    """


class Missing:
    """What was looked for in vain while one call was decided.

    A rule may catch what it raises. The list still has it, and the call cannot be told.

    Attributes:
        names: what was missed, in the words of the record, in order.
    """

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> NoReturn:
        """Note `name` and raise NotRecorded."""
        self.names.append(name)
        raise NotRecorded(f"{name} is not in the record")
