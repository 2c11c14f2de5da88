"""Questions, answers and outcomes, as values."""

from __future__ import annotations

import enum
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = [
    "Answer",
    "Person",
    "Question",
    "QuestionState",
    "Resolution",
    "Scope",
    "Subject",
    "user_name",
]

MAX_ANSWER_MINUTES = 525_600  # a year
MAX_REASON_CHARS = 1000  # characters of the reason for an answer


class Scope(enum.Enum):
    """How long an answer is remembered."""

    ONCE = "once"
    PROCESS = "process"
    WORKLOAD = "workload"
    MINUTES = "minutes"
    ALWAYS = "always"

    @property
    def lasts(self) -> bool:
        """Whether it outlives the workload, and has to be kept in the store."""
        return self in (Scope.MINUTES, Scope.ALWAYS)


class QuestionState(enum.Enum):
    """The outcome of a question."""

    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"
    EXPIRED = "expired"  # nobody answered in time
    WITHDRAWN = "withdrawn"  # the caller is gone
    SUPERSEDED = "superseded"  # decided by the remembered answer to another one
    UNASKED = "unasked"  # nobody can be asked, or too much has been asked


@dataclass(frozen=True, slots=True)
class Subject:
    """What an answer is bound to: it never holds for another program, user, rule or call.

    Questions with equal ones are asked once, answered and remembered together.

    Attributes:
        rule: `file.py:function`.
        key: the rule's own key or else its question, as it is shown; `bound` is what counts.
        uid: who runs the program.
        exe: the program that asks, by the name that the kernel has for it.
        digest: SHA-256 of that program's file, hexadecimal; "" where it could not be read. Nothing
            is remembered then.
        program: of a program that is to be executed, the digest likewise; "" for other questions.
        origin: the rule file: what ships by its name, another by its path and what it holds.
        section: of the daemon's configuration; "" without a daemon.
        bound: SHA-256 of the operation and of all that the rule looked at, or of its own key in the
            place of that; hexadecimal.
        world: whose namespaces the names belong to: "" for the daemon's own, `host` for those of
            process 1, else which ones, and of which workload.
    """

    rule: str
    key: str
    uid: int
    exe: str
    digest: str
    program: str = ""
    origin: str = ""
    section: str = ""
    bound: str = ""
    world: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: unique in the store, rising.
        text: for the person; from the rule, and what it says may come from the target: hostile.
        workload: its id, and `section`, the part of the daemon's configuration that is for it.
        process: `PID@START`; `pid` is its number.
        operation: `Connect`; `syscall` is `connect`.
        args: what events tell of the call.
        scopes: what the person may choose from, `ONCE` first.
        asked: seconds since 1970.
        within: seconds to wait; None for ever.
        caller: how the program that asks is not the file that `subject.exe` names; "" if it is.
        owners: ids of the users whose process it is, by its user namespaces, too; -1 among them if
            they cannot be told.
    """

    id: int
    text: str
    subject: Subject
    workload: str
    section: str
    process: str
    pid: int
    operation: str
    syscall: str
    args: Mapping[str, Any]
    scopes: tuple[Scope, ...]
    asked: float
    within: float | None = None
    caller: str = ""
    owners: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Person:
    """Who answered.

    Attributes:
        name: as the system or the face knows them.
        uid: of the process that spoke for them; None where that is not a local one.
        face: `terminal`, `ctl`, `console`, `webhook`, or `memory` for what was remembered.
        place: where from, as an address or a terminal.
    """

    name: str
    uid: int | None
    face: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.name} by {self.face}"


def user_name(uid: int) -> str:
    """What the system calls a user; `uid N` where it has no name for them."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said.

    Attributes:
        granted: yes or no.
        scope: how long it is remembered; `minutes` is how many, for that scope.
        reason: in the person's words.
    """

    granted: bool
    person: Person
    scope: Scope = Scope.ONCE
    minutes: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What came of asking.

    Attributes:
        question: its id; 0 if nothing was asked.
        answer: what was said; None if nothing was.
        why: for the event, where there is no answer.
    """

    state: QuestionState
    question: int = 0
    answer: Answer | None = None
    why: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def granted(self) -> bool:
        """Whether the call may happen."""
        return self.answer is not None and self.answer.granted

    @property
    def reason(self) -> str:
        """For the event of the call."""
        if self.answer is None:
            return f"question {self.state.value}: {self.why}" if self.why else self.state.value
        said = "granted" if self.answer.granted else "refused"
        why = f": {self.answer.reason}" if self.answer.reason else ""
        return f"{said} by {self.answer.person}{why}"
