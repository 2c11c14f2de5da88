"""What a performer is, and what all of them use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from notifyd.perform.helper_request import Arg, ArgumentUse, HelperReply, Slot
from notifyd.perform.request_builder import RequestBuilder
from notifyd.perform.syscall_result import SyscallResult

__all__ = ["ByThread", "Performer", "PreparedCall", "at", "path"]


class ByThread(Exception):
    """A performer cannot do this call; a thread can: `network`."""


class PreparedCall(NamedTuple):
    """The call of a request, its arguments, and what is in its buffer before.

    Attributes:
        cloexec: whether the descriptor that it gives is close-on-exec for the target.
    """

    call: str
    args: tuple[Arg, ...]
    fill: bytes = b""
    cloexec: bool = False


def _plainly(_: RequestBuilder, reply: HelperReply) -> SyscallResult:
    return SyscallResult(reply.value)


@dataclass(frozen=True, slots=True)
class Performer:
    """How one operation is done.

    Attributes:
        draw: adds places to a builder, and says which call it is.
        finish: what of the reply goes where in the target's memory.
        makes: whether the umask matters.
        answer: names of changes that are made to the answer instead of the call.
    """

    draw: Callable[[RequestBuilder], PreparedCall]
    finish: Callable[[RequestBuilder, HelperReply], SyscallResult] = _plainly
    makes: bool = False
    answer: tuple[str, ...] = ()


def at(place: int) -> Slot:
    """A directory and a name, or the thing itself."""
    return Slot(ArgumentUse.AT, place)


def path(place: int) -> Slot:
    """A path to the thing."""
    return Slot(ArgumentUse.PATH, place)
