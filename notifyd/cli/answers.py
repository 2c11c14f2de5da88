"""What a person may type at a question: one language, for `notifyd run` and `notifyd ctl watch`.

Knows no terminal and no queue. `always` and `never` have no short form: they hold until revoked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from notifyd.approvals.question import MAX_ANSWER_MINUTES, MAX_REASON_CHARS, Scope
from notifyd.errors import UsageError
from notifyd.events.sanitize import printable

__all__ = ["FLUSH_DELAY_S", "QUESTION_PAUSE_S", "Choices", "TypedAnswer"]

# seconds from the end of a question to the next one, for what was said to be seen
QUESTION_PAUSE_S = 0.7
# seconds from showing a question until what was typed is thrown away and answers are taken
FLUSH_DELAY_S = 0.3

_LINE = re.compile(r"(?:(y|yes|n|no)(?=[ 0-9]|$) ?)?(.*)")
_DURATION = re.compile(r"([0-9]{1,6}) ?(?:(m|min|minutes?)|(h|hours?)|d|days?)")
_SCOPES: Mapping[str, Scope] = MappingProxyType(
    {"": Scope.ONCE, "always": Scope.ALWAYS}
    | dict.fromkeys(("p", "process"), Scope.PROCESS)
    | dict.fromkeys(("r", "run", "w", "workload"), Scope.WORKLOAD)
)
_WAYS_OUT: Mapping[str, Literal["skip", "quit"]] = MappingProxyType(
    {"s": "skip", "skip": "skip", "q": "quit", "quit": "quit"}
)
# what it is good for, what the prompt has of it, how it is typed, what it means
_HELP = (
    (Scope.ONCE, "y", "y, yes", "this time"),
    (Scope.ONCE, "n", "n, no", "not this time"),
    (Scope.PROCESS, "process", "p, process", "as long as this process lives"),
    (Scope.WORKLOAD, "run", "r, run", "as long as this run of the command or container lasts"),
    (Scope.MINUTES, "10m", "10m, 2h, 1d", "for so many minutes, hours or days"),
    (Scope.ALWAYS, "always", "always", "from now on, for this program and user, until revoked"),
    (Scope.ALWAYS, "never", "never", "refuse from now on, likewise"),
)
_HELP_SHARED = (("s, skip", "leave it to others"), ("q, quit", "leave, and answer nothing"))


@dataclass(frozen=True, slots=True)
class TypedAnswer:
    """What a line means."""

    granted: bool
    scope: Scope = Scope.ONCE
    minutes: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be said to one question.

    Attributes:
        scopes: what it offers.
        shared: others may answer it, too, so one may skip it, or leave.
    """

    scopes: tuple[Scope, ...]
    shared: bool = False

    @property
    def prompt(self) -> str:
        """What to ask, without a newline."""
        words = [word for scope, word, *_ in _HELP if scope in self.scopes]
        words += ["skip", "quit"] if self.shared else []
        return f"allow it? [{'/'.join(words)}, ? for help] "

    def parse(self, line: str) -> TypedAnswer | Literal["skip", "quit"]:
        """What a line means.

        Raises:
            UsageError: it is no answer, or none to this question; in several lines that say what
                is. Nothing is lost: the question waits.
        """
        said, _, reason = line.partition(":")
        said, reason = " ".join(said.lower().split()), reason.strip()
        if self.shared and said in _WAYS_OUT:
            return _WAYS_OUT[said]
        answer = _answer(said, reason)
        if answer is not None and answer.scope in self.scopes and len(reason) <= MAX_REASON_CHARS:
            return answer
        raise UsageError("\n".join([*self._wrong(said, answer), *self._help()]))

    def _wrong(self, said: str, answer: TypedAnswer | None) -> Iterator[str]:
        if answer is None:
            if said not in ("", "?", "help"):
                yield f"`{printable(said, 40)}` is no answer; nothing is answered:"
        elif answer.scope not in self.scopes:
            yield f"this question cannot be answered for {answer.scope.value}:"
        else:
            yield f"a reason has at most {MAX_REASON_CHARS} characters; nothing is answered:"

    def _help(self) -> Iterator[str]:
        rows = [(typed, means) for scope, _, typed, means in _HELP if scope in self.scopes]
        if len(self.scopes) > 1:
            rows.append(("no ...", "and how long, as above: refuse for so long"))
        rows.append(("n: too late", "with a reason, for the record"))
        rows += _HELP_SHARED if self.shared else ()
        for typing, means in rows:
            yield f"  {typing:<11}  {means}"


def _answer(said: str, reason: str) -> TypedAnswer | None:
    if said == "never":
        return TypedAnswer(False, Scope.ALWAYS, 0.0, reason)
    match = _LINE.fullmatch(said)
    if match is None or not said:
        return None
    granted, rest = (match[1] or "yes")[0] == "y", match[2]
    if rest in _SCOPES:
        return TypedAnswer(granted, _SCOPES[rest], 0.0, reason)
    if (duration := _DURATION.fullmatch(rest)) is None:
        return None
    minutes = float(duration[1]) * (1 if duration[2] else 60 if duration[3] else 1440)
    answer = TypedAnswer(granted, Scope.MINUTES, minutes, reason)
    return answer if 0 < minutes <= MAX_ANSWER_MINUTES else None
