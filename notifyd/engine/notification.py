"""A notification: one call that is more than a plain verdict at once, from its rules to its report.

It is decided inline as far as that goes; what has to wait goes on in a task (`attend`). Where it
stands is its `state`, and `life` has the table of what follows what. It is answered in one place,
`_close`, and only there.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping
from time import perf_counter_ns as clock
from typing import Any

import trio

from notifyd.engine.answer import CAUSES, HOW_GONE, Response
from notifyd.engine.asking import what_it_comes_to
from notifyd.engine.at_once import on_socket_at_once
from notifyd.engine.decide import Decision, ResumableEvaluation, explain
from notifyd.engine.executed import carry_out
from notifyd.engine.giving import given_slowly
from notifyd.engine.life import FINAL, NEXT, NotificationState
from notifyd.engine.listener import Listener
from notifyd.engine.questions import CallQuestions
from notifyd.errors import CannotPerform, NotifydError, RuleError, TargetGone
from notifyd.perform import ByThread, Moved, PerformedCall, SyscallResult, worker
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow, Ask, Deny
from notifyd.target.identity import Identity
from notifyd.target.paths import WouldBlock

LATE_START_NS = 1_000_000  # a task that begins so late looks whether its target is there
MAX_MOVES = 16  # times that a rule is asked again because what it saw has moved

_DECIDING, _ASKING = NotificationState.DECIDING, NotificationState.ASKING
_PERFORMING, _ANSWERING = NotificationState.PERFORMING, NotificationState.ANSWERING


class Notification:
    """One received call of a workload.

    Attributes:
        state: where it stands.
        evaluation: of the rules that are about it.
    """

    __slots__ = (
        "_args", "_begun", "_decision", "_done", "_identity", "_look", "_moved", "_performed",
        "_questions", "_slot", "evaluation", "listener", "note", "state",
    )  # fmt: skip

    def __init__(self, listener: Listener, note: Note, begun: int, slot: int = 0) -> None:
        self.listener = listener
        self.note = note
        self.evaluation = ResumableEvaluation(
            note, listener.plans.get((note[ARCH], note[NR]), ()), listener.rules, listener
        )
        self.state = _DECIDING
        self._begun = begun
        self._slot = slot  # in the in-flight table; 0 for none
        self._decision: Decision | None = None  # while it is not DECIDING
        self._look: WouldBlock | None = None  # what has to be waited for before anything else
        self._performed: PerformedCall | None = None  # owned
        self._done: SyscallResult | None = None  # not done again because answering has to wait
        self._moved = 0
        self._questions: CallQuestions | None = None
        self._identity: Identity | None = None
        self._args: Mapping[str, Any] | None = None

    # -- inline: each returns the notification itself if it has to be attended in a task

    def decide(self) -> Notification | None:
        """Ask the rules inline, and answer."""
        changes = self.listener.before_decision(self.note)
        if not changes or self.evaluation.steps:
            return self._ask()
        self.listener.go_on(self.note, changes)
        self._settled(NotificationState.ANSWERED)
        return None

    def _ask(self) -> Notification | None:
        try:
            decision = self.evaluation.ask()
        except WouldBlock as look:
            self._look = look
            return self
        except TargetGone as gone:
            return self._gone(gone)
        return self if decision is None else self.conclude(decision)

    def ruled(self, call: Call, verdict: object) -> Notification | None:
        """Go on from the verdict of the only rule, asked already."""
        return self.conclude(self.evaluation.judge(call, verdict))

    def failed(self, call: Call, error: BaseException) -> Notification | None:
        """Go on from what the only rule raised, or what followed."""
        self.evaluation.adopt(call)
        if isinstance(error, WouldBlock):
            self._look = error
            return self
        if isinstance(error, TargetGone):
            return self._gone(error)
        self.evaluation.failed(error)
        return self.conclude(self.evaluation.conclusion())

    def conclude(self, decision: Decision) -> Notification | None:
        """Go on from what the rules, or a person, decided; answer if that can be done inline."""
        verdict = decision.verdict
        self._decision = decision
        if self.listener.held and not verdict.refuses:
            self.refuse("held")
            return None
        if isinstance(verdict, Ask):
            self._enter(_ASKING)
            return self
        if isinstance(verdict, Allow) and (decision.looked or verdict.changes or verdict.grant):
            self._enter(_ANSWERING if self._done is not None else _PERFORMING)
            return self._perform_now(decision)
        self._enter(_ANSWERING)
        return self._answer(decision)

    def _perform_now(self, decision: Decision) -> Notification | None:
        """Do a call on files, if that takes no time."""
        call, verdict = decision.call, decision.verdict
        assert isinstance(verdict, Allow)
        begun = self._performed is not None or self._done is not None
        if begun or call is None or not self.listener.performs(call, verdict):
            return self
        self._witness(call)
        try:
            done = on_socket_at_once(self.listener, call, verdict)
            if done is None:
                self._performed = self.listener.files.begin(call, verdict)
                done = self._performed.now()
            if done is not None:
                self._performed_as(decision, done)
        except ByThread:
            return self
        except WouldBlock as look:
            self._look = look
        except Moved:
            self._ask_again()
        except TargetGone as gone:
            return self._gone(gone)
        except (NotifydError, OSError) as error:
            self._not_done(decision, error)
        return None if self.state in FINAL else self

    def _answer(self, decision: Decision) -> Notification | None:
        """Answer with what was done, or else with the verdict."""
        try:
            if self._done is not None:
                self._performed_as(decision, self._done)
                return None
            self._witness(decision.call)
            response = self.listener.answerer.answer(self.note, decision)
        except WouldBlock as look:
            self._look = look
            return self
        assert response is not None
        self._close(decision, response)
        return None

    # -- in a task

    def enter_ledger(self) -> bool:
        """Go on record as a call that waits; refused, and False, if there is no room for it."""
        in_flight = self.listener.in_flight
        if in_flight is None or self._slot:
            return True
        self._slot = in_flight.enter(self.note)
        if not self._slot:
            self.refuse("crowded")
        return bool(self._slot)

    async def attend(self) -> None:
        """See it through in a task of its own, which is cancelled if its target is gone."""
        try:
            late = clock() - self._begun > LATE_START_NS
            if late and not self.listener.id_valid(self.note[ID]):
                return  # it is gone: the rest would only keep others waiting
            while await self._runs_out_of_patience():
                self.evaluation.ran_out()
        except Exception as error:  # ours, not a rule's: refuse this call, keep the others
            self.listener.broke(self.note, error)
            if self.state not in FINAL:  # else it is the telling that failed
                self._settled(NotificationState.ANSWERED)
        finally:
            self.listener.waiting.pop(self.note[ID], None)
            self._let_go()
            if self.state not in FINAL:
                self._abandoned()

    async def _runs_out_of_patience(self) -> bool:
        with trio.CancelScope(deadline=self.evaluation.deadline()) as scope:
            self.listener.wait(self.note[ID], scope)
            await self._see_through(scope)
        return scope.cancelled_caught and scope.deadline <= trio.current_time()

    async def _see_through(self, scope: trio.CancelScope) -> None:
        while self.state not in FINAL:
            try:
                if self._look is None and self.state is _DECIDING:
                    self.conclude(await self.evaluation.ask_async(scope))
                    continue
                if scope.deadline != math.inf:
                    scope.deadline = math.inf  # what is done now is no rule's
                await self._step()
            except WouldBlock as again:
                self._look = again
            except TargetGone as gone:
                self._gone(gone)
            except worker.TooManyThreads as crowd:
                self._not_done(self._decision or self._refusal(None), crowd)

    async def _step(self) -> None:
        """Do what is next and is no rule's."""
        if self._look is not None:
            look, self._look = self._look, None
            await worker.run(look.look)
            return
        decision = self._decision
        assert decision is not None
        if self.state is _ASKING:
            if not await self._fails_anyway(decision):
                await self._ask_person(decision)
        elif self.state is _ANSWERING:
            self._answer(decision)
        else:
            waits = self._perform_now(decision) is not None and self._look is None
            if waits and self.state is _PERFORMING:  # else the rules are asked again
                await self._perform(decision)

    async def _ask_person(self, decision: Decision) -> None:
        self._witness(decision.call)
        self._questions = self._questions or CallQuestions()
        about = decision, self._identity, self._args, self._slot
        self.conclude(await self._questions.put(self.listener, self.note, *about))

    async def _fails_anyway(self, decision: Decision) -> bool:
        """Whether an execve comes to nothing without anybody's leave, and is answered so.

        A shell tries every directory of PATH: nobody wants to be asked about those.
        """
        if not isinstance(decision.call, Exec) or self._questions is not None:
            return False
        self._witness(decision.call)
        try:
            done = await what_it_comes_to(self.listener, decision.call)
        except TargetGone:
            raise
        except (NotifydError, OSError) as error:
            self._not_done(decision, error)
            return True
        if done is not None:
            self._performed_as(decision, done)
        return self.state in FINAL

    async def _perform(self, decision: Decision) -> None:
        call = decision.call
        try:
            if self._performed is None:
                self._witness(call)
                if call is None:
                    raise CannotPerform("nothing is known of this call that could be performed")
                found = await carry_out(self.listener, self.note, self._identity, decision, call)
                if isinstance(found, SyscallResult):
                    return self._performed_as(decision, found)
                if isinstance(found, Response):
                    return self._close(decision, found)
                self._performed = found
            done = await self._performed.wait()
            if done.fd is not None and done.slow:
                done = await given_slowly(self.listener, self.note, done.fd, done.cloexec)
            self._performed_as(decision, done)
        except Moved:
            self._ask_again()
        except TargetGone as gone:
            self._gone(gone)
        except (NotifydError, OSError) as error:
            self._not_done(decision, error)

    def _ask_again(self) -> None:
        """What the rule saw is not there any more; after some tries the target gets EAGAIN."""
        self._let_go()
        self._moved += 1
        if self._moved > MAX_MOVES:
            self.refuse("moving", errno.EAGAIN)
            return
        self._decision = None
        self._enter(_DECIDING)
        self.evaluation.restart()

    def _performed_as(self, decision: Decision, done: SyscallResult) -> None:
        """Answer with what was done. No checkpoint between the effect and this."""
        # Invariant: nothing of ours is open any more when the target goes on.
        self._let_go()
        self._done = done
        self._enter(_ANSWERING)
        self._close(decision, self.listener.answerer.performed(self.note, decision, done))

    def _not_done(self, decision: Decision, error: NotifydError | OSError) -> None:
        """Refuse what could not be done, or could not be asked for at all."""
        self._let_go()
        cause = "crowded" if isinstance(error, worker.TooManyThreads) else "undone"
        response = self.listener.answerer.not_performed(self.note, error, cause)
        broken = decision.broken or isinstance(error, RuleError)
        self._close(decision._replace(broken=broken), response)

    def _let_go(self) -> None:
        performed, self._performed = self._performed, None
        if performed is not None:
            performed.close()

    # -- the end

    def _abandoned(self) -> None:
        """The task was cancelled: the target is gone, or the supervisor ends while it waits."""
        if self.listener.left:
            self._enter(NotificationState.LEFT)
            self.evaluation.close()
        elif self.listener.descriptor >= 0 and self.listener.notifier.id_valid(self.note[ID]):
            self.refuse("ended")
        else:
            self._close(self._refusal(None), Response("deny", HOW_GONE))

    def _gone(self, error: TargetGone) -> Notification | None:
        """The target is said to be gone; or a rule stumbled on another one that is."""
        # Invariant: every received call gets its answer, or is found gone by its own id.
        if self.listener.notifier.id_valid(self.note[ID]):
            self._decision = None
            self._enter(_DECIDING)
            self.evaluation.failed(error)
            return self._ask()
        asked = self.evaluation.asked
        refusal = self._refusal(explain(error))._replace(rule=asked.name if asked else None)
        self._close(refusal, Response("deny", HOW_GONE))
        return None

    def refuse(self, cause: str, number: int = errno.EPERM, reason: str = "") -> None:
        """Refuse although no rule wanted so, for one of `CAUSES`, whose text is the reason."""
        self._let_go()
        why = reason or CAUSES[cause]
        response = self.listener.answerer.refuse(self.note, "deny", number, why, cause)
        self._close(self._decision or self._refusal(why), response)

    def _refusal(self, reason: str | None) -> Decision:
        return Decision(Deny(errno.EPERM), self.evaluation.last_call, False, None, reason)

    def _witness(self, call: Call | None) -> None:
        """Take down who calls and with what, as long as the target stands still."""
        listener = self.listener
        if listener.unobserved:
            return
        try:
            self._identity = listener.identities.of(self.note[PID])
            self._args = self.evaluation.as_made(call).describe() if call is not None else None
        except (TargetGone, WouldBlock):
            pass  # the answer will find out that it is gone; an event is not worth waiting for

    def _enter(self, state: NotificationState) -> None:
        assert state in NEXT[self.state], f"{self.state} -> {state}"
        self.state = state

    def _settled(self, state: NotificationState) -> None:
        """The kernel has its answer, or wants none."""
        self._enter(state)
        self.evaluation.close()
        if self.listener.in_flight is not None:
            self.listener.in_flight.leave(self._slot)

    def _close(self, decision: Decision, response: Response) -> None:
        # Invariant: the one place where a received call ends, answered or gone.
        gone = response.how == HOW_GONE
        self._settled(NotificationState.GONE if gone else NotificationState.ANSWERED)
        self._let_go()
        listener = self.listener
        if gone:
            listener.notifier.gone(self.note[ID])
        if listener.watched:
            listener.note_change(self.note, self._identity)
        if decision.broken:
            listener.reporter.failed(*self.evaluation.failure or (decision.rule, response.reason))
        if not listener.unobserved:
            self._report(decision, response)

    def _report(self, decision: Decision, response: Response) -> None:
        listener, asked = self.listener, self._questions or CallQuestions()
        named = listener.named(self.note, decision.call)
        told = response._replace(verdict="ask") if asked.said else response
        listener.reporter.call(
            listener.name, self.note, self._begun, named, told,
            identity=self._identity, args=self._args, rule=decision.rule,
            waited=asked.waited, approval=asked.asked,
        )  # fmt: skip
