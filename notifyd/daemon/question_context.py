"""Questions with all that a person needs to judge them: who asks, from where, under which rule.

Owns what was read of those who ask: once for each question, when it is first shown, so that a
process cannot make itself look better while a person thinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.question import Question
from notifyd.approvals.queue import ApprovalQueue
from notifyd.daemon.ancestry import Ancestor, ancestry
from notifyd.daemon.approval_messages import DecisionView, ProcessView, QuestionView
from notifyd.daemon.policies import Policy
from notifyd.daemon.workload import Workload
from notifyd.errors import UsageError
from notifyd.events.sanitize import cut, fields_to_json, printable, whole
from notifyd.intake.native import NATIVE
from notifyd.perform import worker
from notifyd.policy.load import title
from notifyd.threads import in_thread

__all__ = ["QuestionContexts", "decision_view"]

PROC_READ_TIMEOUT_S = 1.0  # seconds for /proc; a process may keep its arguments from being read
MAX_CONCURRENT_PROC_READS = 8  # reads of /proc
MAX_SIMILAR_DECISIONS = 5  # decisions of before that are shown with a question


@dataclass(frozen=True, slots=True)
class _QuestionContext:
    tree: tuple[Ancestor, ...]
    rule: str
    container: str
    annotations: Mapping[str, str]


class QuestionContexts:
    """What is known around the questions of a queue.

    Args:
        queue: whose questions.
        workloads: who is supervised, by id.
    """

    def __init__(self, queue: ApprovalQueue, workloads: Mapping[str, Workload]) -> None:
        self._queue = queue
        self._workloads = workloads
        self._known: dict[int, _QuestionContext] = {}
        self._hung: set[str] = set()
        self._reading = trio.CapacityLimiter(MAX_CONCURRENT_PROC_READS)

    async def pending(self) -> list[QuestionView]:
        """The questions that wait, the oldest first."""
        questions = self._queue.pending
        views: dict[int, QuestionView] = {}

        async def add(question: Question) -> None:
            views[question.id] = await self.view(question)

        async with trio.open_nursery() as nursery:
            for question in questions:
                nursery.start_soon(add, question)
        self._forget()
        waiting = {question.id for question in self._queue.pending}
        return [views[one.id] for one in questions if one.id in waiting]

    async def view(self, question: Question) -> QuestionView:
        """One question."""
        context = self._known.get(question.id)
        if context is None:
            context = self._known[question.id] = await self._read(question)
        subject = question.subject
        return QuestionView(
            id=question.id,
            text=question.text,
            workload=question.workload,
            section=question.section,
            process=question.process,
            pid=question.pid,
            exe=whole(subject.exe),
            caller=question.caller,
            uid=subject.uid,
            operation=question.operation,
            syscall=question.syscall,
            args=fields_to_json(question.args),
            rule=whole(subject.rule),
            title=context.rule,
            key=subject.key,
            scopes=[scope.value for scope in question.scopes],
            asked=question.asked,
            within=question.within,
            container=context.container,
            annotations=dict(context.annotations),
            tree=[ProcessView(one.pid, one.name, one.cmdline, one.uid) for one in context.tree],
            history=await self._like(question),
        )

    def _forget(self) -> None:
        """Drop what is known of questions that have ended."""
        waiting = {question.id for question in self._queue.pending}
        for id_ in self._known.keys() - waiting:
            del self._known[id_]
        self._hung &= self._workloads.keys()

    async def _read(self, question: Question) -> _QuestionContext:
        workload = self._workloads.get(question.workload)
        tree = await self._tree(question)
        if workload is None:
            return _QuestionContext(tree, "", "", {})
        arrival = workload.arrival
        try:
            told = await in_thread(partial(_title, workload.policy, question.subject.rule))
        except OSError:  # no more threads
            told = ""
        container = arrival.id if arrival.kind != NATIVE else ""
        return _QuestionContext(tree, told, container, fields_to_json(arrival.annotations))

    async def _tree(self, question: Question) -> tuple[Ancestor, ...]:
        """The process and its ancestors; nothing of a workload that has kept us waiting before."""
        start = question.process.partition("@")[2]
        async with self._reading:
            if question.workload in self._hung or not start.isdigit():
                return ()
            with trio.move_on_after(PROC_READ_TIMEOUT_S):
                try:
                    return await worker.run(lambda: ancestry(question.pid, int(start)))
                except OSError:  # no more threads
                    return ()
            self._hung.add(question.workload)
            return ()

    async def _like(self, question: Question) -> list[DecisionView]:
        subject = question.subject
        try:
            rows = await self._queue.history(
                HistoryFilter(rule=subject.rule, key=subject.key, most=MAX_SIMILAR_DECISIONS)
            )
        except UsageError:  # it can be answered without
            return []
        return [decision_view(row) for row in rows]


def _title(policy: Policy, rule: str) -> str:
    """The first line of what a rule's file says of itself; "" if it cannot be read any more."""
    name = rule.rpartition(":")[0]
    for file in policy.files:
        if file.name == name:
            try:
                return printable(title(file))
            except (OSError, SyntaxError, ValueError):
                return ""
    return ""


def decision_view(row: Mapping[str, Any]) -> DecisionView:
    """A row of the store's history."""
    return DecisionView(
        id=row["id"],
        text=row["text"],
        workload=row["workload"],
        exe=row["exe"],
        uid=row["uid"],
        rule=row["rule"],
        operation=row["operation"],
        state=row["state"],
        scope=row["scope"] or "",
        by=row["person"] or "",
        face=row["face"] or "",
        place=row["place"] or "",
        reason=cut(row["reason"] or ""),
        asked=row["asked"],
        ended=row["ended"] or row["asked"],
        waited_s=row["waited"] or 0.0,
    )
