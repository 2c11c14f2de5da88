"""What a recipe is, and what all of them use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from notifyd.perform.done import Done
from notifyd.perform.draft import Draft
from notifyd.perform.order import Arg, Reply, Slot, Use

__all__ = ["Drawn", "Recipe", "at", "path"]


class Drawn(NamedTuple):
    """The call of an order, its arguments, and what is in its buffer before.

    Attributes:
        cloexec: whether the descriptor that it gives is close-on-exec for the target.
    """

    call: str
    args: tuple[Arg, ...]
    fill: bytes = b""
    cloexec: bool = False


def _plainly(_: Draft, reply: Reply) -> Done:
    return Done(reply.value)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one operation is done.

    Attributes:
        draw: adds places to a draft, and says which call it is.
        finish: what of the reply goes where in the target's memory.
        makes: whether the umask matters.
        answer: names of changes that are made to the answer instead of the call.
    """

    draw: Callable[[Draft], Drawn]
    finish: Callable[[Draft, Reply], Done] = _plainly
    makes: bool = False
    answer: tuple[str, ...] = ()


def at(place: int) -> Slot:
    """A directory and a name, or the thing itself."""
    return Slot(Use.AT, place)


def path(place: int) -> Slot:
    """A path to the thing."""
    return Slot(Use.PATH, place)
