"""What is remembered of answers: for a process, for a workload, for some minutes, for good.

Owns the lookup. What lasts is in the store as well, which is asked once, at the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from notifyd.approvals.question import Answer, Person, Question, Scope, Subject

__all__ = ["AnswerCache", "StoredAnswer"]


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that outlives its workload.

    Attributes:
        id: in the store.
        question: the one that was answered so.
        made: seconds since 1970; `until` likewise, None for ever.
    """

    id: int
    subject: Subject
    granted: bool
    person: Person
    reason: str
    question: int
    made: float
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it still counts."""
        return self.until is None or now < self.until


class AnswerCache:
    """Answers by what they apply to."""

    def __init__(self, grants: Iterable[StoredAnswer] = ()) -> None:
        self._of_process: dict[tuple[str, str, Subject], Answer] = {}
        self._of_workload: dict[tuple[str, Subject], Answer] = {}
        self._lasting: dict[Subject, StoredAnswer] = {grant.subject: grant for grant in grants}

    def recall(self, question: Question, now: float) -> Answer | None:
        """An answer that was given before and holds for this question."""
        subject = question.subject
        found = self._of_process.get(
            (question.workload, question.process, subject)
        ) or self._of_workload.get((question.workload, subject))
        if found is not None:
            return found
        grant = self._lasting.get(subject)
        if grant is None:
            return None
        if not grant.holds(now):
            del self._lasting[subject]
            return None
        return Answer(grant.granted, grant.person, reason=grant.reason)

    def keep(self, question: Question, answer: Answer) -> None:
        """Remember an answer that does not outlive its workload."""
        subject = question.subject
        if answer.scope is Scope.PROCESS:
            self._of_process[question.workload, question.process, subject] = answer
        elif answer.scope is Scope.WORKLOAD:
            self._of_workload[question.workload, subject] = answer

    def add(self, grant: StoredAnswer) -> None:
        """Remember one that does."""
        self._lasting[grant.subject] = grant

    def revoke(self, id: int) -> StoredAnswer | None:  # noqa: A002
        """Forget a lasting one; None if none has that id."""
        for subject, grant in self._lasting.items():
            if grant.id == id:
                del self._lasting[subject]
                return grant
        return None

    def grants(self, now: float) -> tuple[StoredAnswer, ...]:
        """The lasting ones that hold."""
        return tuple(grant for grant in self._lasting.values() if grant.holds(now))

    def forget_workload(self, workload: str) -> None:
        """Forget what was remembered for a workload that has ended."""
        for known in (self._of_process, self._of_workload):
            for key in [key for key in known if key[0] == workload]:
                del known[key]  # type: ignore[arg-type]
