"""The queue: questions arrive, wait for a person, and leave with their outcome.

Owns everything that is open. Who may answer is not decided here, nor how a person is shown a
question; the faces do that.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from notifyd.approvals.answer_cache import AnswerCache, StoredAnswer
from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.question import Answer, Question, QuestionState, Resolution, Scope, Subject
from notifyd.approvals.store import Store
from notifyd.errors import UsageError
from notifyd.threads import in_thread

__all__ = ["MAX_OPEN_QUESTIONS", "MAX_QUESTIONS_PER_MINUTE", "ApprovalQueue", "Approver", "Tell"]

MAX_OPEN_QUESTIONS = 64  # questions of one workload that wait at the same time
MAX_QUESTIONS_PER_MINUTE = 60  # new questions of one workload
MAX_ENDED_QUESTIONS = 1000  # ended questions whose outcome is kept, for late answers
QUESTION_LINGER_S = 1.0  # seconds that a question waits for its call to come again, after a signal
# ids above are of questions that the store did not take: it gives none such
FIRST_UNSTORED_ID = 1_000_000_000
_MINUTE = 60.0

Tell = Callable[..., None]
"""Takes an event: its name, its level, and its fields. See the catalogue in `audit.event`."""

T = TypeVar("T")


class Approver(Protocol):
    """What can be asked: a queue, or what gets one when it is needed."""

    async def ask(self, draft: Question) -> Resolution:
        """See `ApprovalQueue.ask`."""


Key = tuple[str, Subject]  # of a workload: nothing that differs joins what waits


class _OpenQuestion:
    """A question that waits."""

    def __init__(self, question: Question, deadline: float) -> None:
        self.question = question
        self.deadline = deadline
        self.done = trio.Event()
        self.deciding = trio.Lock()  # the first answer counts, however long it takes
        self.resolution: Resolution | None = None
        self.waiters = 0
        self.lonely_since = 0.0
        self.begun = time.monotonic()


class ApprovalQueue:
    """Asks, and remembers.

    Args:
        tell: where events go.
        store: what survives us; None where nothing shall.

    Attributes:
        attended: how many faces could show a question to a person. Nothing is asked while it is 0.
        nobody: what is said then.
        version: rises with every question that comes, is answered or goes, and once more when that
            is in the history.
    """

    def __init__(self, tell: Tell, store: Store | None = None) -> None:
        self.attended = 0
        self.nobody = "there is nobody to ask"
        self.version = 0
        self._tell = tell
        self._store = store
        self._memory = AnswerCache(store.grants() if store is not None else ())
        self._last = FIRST_UNSTORED_ID if store is not None else 0  # the last id that no store gave
        self._open: dict[Key, _OpenQuestion] = {}
        self._ended: dict[int, Resolution] = {}
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._changed = trio.Event()
        self._one_by_one = trio.CapacityLimiter(1)  # what is written keeps its order
        self._readers = trio.CapacityLimiter(4)
        if store is not None and store.dropped:
            tell(
                "approval.lost",
                "warning",
                error=f"{store.dropped} answers that an older notifyd kept do not say all that "
                "they are about: they hold no more, and it is asked again",
            )

    @property
    def pending(self) -> tuple[Question, ...]:
        """The questions that wait, the oldest first."""
        questions = (one.question for one in self._open.values() if one.question.id)
        return tuple(sorted(questions, key=_id))

    @property
    def keeps(self) -> bool:
        """Whether there is a history."""
        return self._store is not None

    @property
    def grants(self) -> tuple[StoredAnswer, ...]:
        """The answers that are remembered for good, or for some minutes."""
        return self._memory.grants(time.time())

    # -- asking

    async def ask(self, draft: Question) -> Resolution:
        """Ask, and wait for the outcome. Cancelled if the caller is gone.

        Args:
            draft: the question; its `id` and `asked` are given here.
        """
        known = self._memory.recall(draft, time.time())
        if known is not None:
            state = QuestionState.GRANTED if known.granted else QuestionState.REFUSED
            return Resolution(state, answer=known, why="remembered")
        key = _key(draft)
        one = self._open.get(key)
        if one is None:
            refusal = self._refusal(draft.workload)
            if refusal:
                self._tell("approval.unasked", "info", **_told(draft), reason=refusal)
                return Resolution(QuestionState.UNASKED, why=refusal)
            one = await self._begin(key, draft)
        one.waiters += 1
        try:
            with trio.move_on_at(one.deadline):
                await one.done.wait()
            if one.resolution is None:
                await self._expire(one)
        finally:
            one.waiters -= 1
            one.lonely_since = time.monotonic()
        assert one.resolution is not None
        return one.resolution

    def _refusal(self, workload: str) -> str:
        """Why nothing can be asked; "" if it can."""
        if not self.attended:
            return self.nobody
        if sum(key[0] == workload for key in self._open) >= MAX_OPEN_QUESTIONS:
            return f"{MAX_OPEN_QUESTIONS} questions of this workload wait already"
        recent, now = self._recent[workload], time.monotonic()
        while recent and recent[0] < now - _MINUTE:
            recent.popleft()
        if len(recent) >= MAX_QUESTIONS_PER_MINUTE:
            return f"this workload has asked {MAX_QUESTIONS_PER_MINUTE} questions within a minute"
        recent.append(now)
        return ""

    async def _begin(self, key: Key, draft: Question) -> _OpenQuestion:
        """A question that waits from now on, and can be joined; it is shown when it has its id."""
        within = draft.within
        deadline = trio.current_time() + within if within is not None else float("inf")
        one = self._open[key] = _OpenQuestion(replace(draft, asked=time.time()), deadline)
        with trio.CancelScope(shield=True):
            number = await self._number(one.question)
        one.question = replace(one.question, id=number)
        self._tell("approval.asked", "info", **_told(one.question))
        self._change()
        return one

    async def _number(self, question: Question) -> int:
        """The id of a question: the store's, which others may use as well."""
        if self._store is not None:
            number = await self._try_to_keep(partial(self._store.ask, question))
            if number is not None:
                return number
        self._last += 1
        return self._last

    async def _expire(self, one: _OpenQuestion) -> None:
        """The time is over; but an answer that came in time counts, and may still be written."""
        async with one.deciding:
            if one.resolution is None:
                await self._end(
                    one, Resolution(QuestionState.EXPIRED, one.question.id, why="no answer")
                )

    async def _end(self, one: _OpenQuestion, resolution: Resolution) -> None:
        """Notify every caller that waits for a question, and keep its outcome."""
        waited = round(time.monotonic() - one.begun, 3)
        one.resolution = resolution
        self._open.pop(_key(one.question), None)
        self._ended[one.question.id] = resolution
        if len(self._ended) > MAX_ENDED_QUESTIONS:
            del self._ended[next(iter(self._ended))]
        one.done.set()
        self._change()
        answer = resolution.answer
        said: dict[str, Any] = {"reason": resolution.why or None}
        if answer is not None:
            said = {
                "by": str(answer.person),
                "by_uid": answer.person.uid,
                "scope": answer.scope.value,
                "minutes": answer.minutes or None,
                "reason": answer.reason or None,
            }
        self._tell(
            "approval.answered" if answer is not None else "approval.ended",
            "info",
            workload=one.question.workload,
            approval=one.question.id,
            state=resolution.state.value,
            waited_s=waited,
            **said,
        )
        if self._store is not None:
            keep = partial(self._store.end, one.question.id, resolution, time.time(), waited)
            with trio.CancelScope(shield=True):  # it has happened, and is on record
                await self._try_to_keep(keep)
            self._change()

    # -- answering

    async def answer(self, id: int, answer: Answer) -> Question:  # noqa: A002
        """Take a person's answer.

        Raises:
            UsageError: the question is not open any more, or its answer cannot last that long.
        """
        one = self._find(id)
        question = one.question
        if answer.scope not in question.scopes:
            can = ", ".join(scope.value for scope in question.scopes)
            raise UsageError(f"question {id} cannot be answered for {answer.scope.value}: {can}")
        if answer.scope is Scope.MINUTES and not 0 < answer.minutes <= 525_600:
            raise UsageError("an answer for some minutes says how many: 1 to 525600")
        async with one.deciding:
            self._find(id)  # another answer may have been faster
            if answer.scope.lasts:
                self._memory.add(await self._granted(question, answer))
            else:
                self._memory.keep(question, answer)
            if one.resolution is None:  # the caller still waits
                state = QuestionState.GRANTED if answer.granted else QuestionState.REFUSED
                await self._end(one, Resolution(state, id, answer))
        await self._supersede(id)
        return question

    def find(self, id: int) -> Question:  # noqa: A002
        """A question that waits.

        Raises:
            UsageError: it does not; with what became of it.
        """
        return self._find(id).question

    def _find(self, id: int) -> _OpenQuestion:  # noqa: A002
        for one in self._open.values():
            if one.question.id == id:
                return one
        ended = self._ended.get(id)
        if ended is None:
            raise UsageError(f"no question {id} waits: see `notifyd ctl pending`")
        if ended.answer is not None:
            raise UsageError(f"question {id} is answered already: {ended.reason}")
        raise UsageError(f"question {id} waits no more, it is {ended.state.value}: {ended.why}")

    async def _granted(self, question: Question, answer: Answer) -> StoredAnswer:
        """Write down an answer that lasts. What cannot be kept is not promised."""
        now = time.time()
        until = now + answer.minutes * _MINUTE if answer.scope is Scope.MINUTES else None
        grant = StoredAnswer(
            0,
            question.subject,
            answer.granted,
            answer.person,
            answer.reason,
            question.id,
            now,
            until,
        )
        if self._store is None:
            return replace(grant, id=question.id)
        try:
            number = await self._in_thread(partial(self._store.grant, grant))
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"the answer cannot be kept ({error}): choose a shorter scope"
            ) from error
        return replace(grant, id=number)

    async def _supersede(self, id: int) -> None:  # noqa: A002
        """End the other questions that what is remembered now answers, too."""
        for one in tuple(self._open.values()):
            known = self._memory.recall(one.question, time.time())
            if known is not None and one.resolution is None:
                why = f"answered with question {id}"
                resolution = Resolution(QuestionState.SUPERSEDED, one.question.id, known, why)
                await self._end(one, resolution)

    async def revoke(self, id: int, person: str) -> StoredAnswer:  # noqa: A002
        """Forget an answer that lasts.

        Raises:
            UsageError: no answer has that id.
        """
        grant = self._memory.revoke(id)
        if grant is None:
            raise UsageError(f"no grant {id} holds: see `notifyd ctl grants`")
        self._tell("approval.revoked", "info", grant=id, by=person, rule=grant.subject.rule)
        if self._store is not None:
            await self._try_to_keep(partial(self._store.revoke, id, person, time.time()))
        return grant

    # -- the rest

    async def history(self, wanted: HistoryFilter) -> list[dict[str, Any]]:
        """How questions ended before, the latest first; none without a store.

        Raises:
            UsageError: the store cannot be read.
        """
        if self._store is None:
            return []
        try:
            return await in_thread(partial(self._store.history, wanted), limiter=self._readers)
        except (sqlite3.Error, OSError) as error:
            raise UsageError(f"the database of approvals cannot be read: {error}") from error

    def forget_workload(self, workload: str) -> None:
        """A workload has ended."""
        self._memory.forget_workload(workload)
        self._recent.pop(workload, None)

    async def wait_change(self, since: int) -> int:
        """Wait until `version` is not `since` any more; return what it is."""
        while self.version == since:
            await self._changed.wait()
        return self.version

    async def run(self) -> None:
        """Withdraw questions for which no call waits any more, until cancelled."""
        while True:
            await trio.sleep(QUESTION_LINGER_S / 2)
            late = time.monotonic() - QUESTION_LINGER_S
            for one in tuple(self._open.values()):
                if not one.waiters and one.resolution is None and 0 < one.lonely_since < late:
                    why = "whoever asked is gone"
                    await self._end(
                        one, Resolution(QuestionState.WITHDRAWN, one.question.id, why=why)
                    )

    def _change(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _try_to_keep(self, write: Callable[[], T]) -> T | None:
        """Write to the store. A failure is reported; what a person decided applies nevertheless."""
        try:
            return await self._in_thread(write)
        except (sqlite3.Error, OSError) as error:
            self._tell("approval.lost", "error", error=str(error))
            return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await in_thread(work, limiter=self._one_by_one)


def _id(question: Question) -> int:
    return question.id


def _key(question: Question) -> Key:
    return question.workload, question.subject


def _told(question: Question) -> Mapping[str, Any]:
    """The fields of an event about a question."""
    subject = question.subject
    return {
        "workload": question.workload,
        "approval": question.id or None,
        "question": question.text,
        "pid": question.pid,
        "exe": subject.exe,
        "uid": subject.uid,
        "operation": question.operation,
        "args": dict(question.args) or None,
        "rule": subject.rule,
        "within_s": question.within,
    }
