"""A case: one call that is more than a plain verdict at once, from its rules to its report.

It is decided inline as far as that goes; what has to wait goes on in a task (`attend`). A case is
answered in one place, `_close`, and only there.
"""

from __future__ import annotations

import errno
import os
from time import perf_counter_ns as clock
from typing import Any

import trio

from notifyd.engine.answer import CAUSES, HOW_GONE, Response
from notifyd.engine.asking import what_it_comes_to
from notifyd.engine.decide import Decision, ResumableEvaluation, explain
from notifyd.engine.executed import carry_out
from notifyd.engine.giving import given_slowly
from notifyd.engine.listener import Listener
from notifyd.engine.questions import CallQuestions
from notifyd.errors import CannotPerform, NotifydError, RuleError, TargetFault, TargetGone
from notifyd.events.record import CallRecord
from notifyd.kernel.arch import arch_name
from notifyd.perform import FILE_PERFORMERS, Moved, PerformedCall, SyscallResult, worker
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow, Ask, Deny, Kill
from notifyd.target.identity import Identity
from notifyd.target.paths import WouldBlock
from notifyd.target.watch import Change

LATE_START_NS = 1_000_000  # a task that begins so late looks whether its target is there
MAX_MOVES = 16  # times that a rule is asked again because what it saw has moved


class Notification:
    """One received call of a workload."""

    __slots__ = (
        "_args",
        "_begun",
        "_came",
        "_decision",
        "_identity",
        "_look",
        "_moved",
        "_performed",
        "_questions",
        "_slot",
        "answered",
        "evaluation",
        "listener",
        "note",
    )

    def __init__(self, listener: Listener, note: Note, begun: int, slot: int = 0) -> None:
        self.listener = listener
        self.note = note
        self.evaluation = ResumableEvaluation(
            note, listener.plans.get((note[ARCH], note[NR]), ()), listener.rules, listener
        )
        self.answered = False
        self._begun = begun
        self._identity: Identity | None = None
        self._args: dict[str, Any] | None = None
        self._decision: Decision | None = None
        self._look: WouldBlock | None = None
        self._performed: PerformedCall | None = None
        self._came: SyscallResult | None = None  # of what is done, and not answered yet
        self._moved = 0
        self._slot = slot  # in the in-flight table; 0 for none
        self._questions = CallQuestions()

    # -- inline

    def decide(self) -> Notification | None:
        """Ask the rules inline, and answer. Returns itself if it has to be attended in a task."""
        changes = self.listener.before_decision(self.note)
        return self._go_on(changes) if changes and not self.evaluation.steps else self._ask()

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
        """Go on from the verdict of the only rule, asked already; returns as `decide` does."""
        return self.conclude(self.evaluation.judge(call, verdict))

    def failed(self, call: Call, error: BaseException) -> Notification | None:
        """Go on from what the only rule raised, or what followed; returns as `decide` does."""
        self.evaluation.adopt(call)
        if isinstance(error, WouldBlock):
            self._look = error
            return self
        if isinstance(error, TargetGone):
            return self._gone(error)
        self.evaluation.failed(error)
        return self.conclude(self.evaluation.conclusion())

    def conclude(self, decision: Decision) -> Notification | None:
        """Answer, if that can be done inline; returns as `decide` does."""
        verdict = decision.verdict
        if self.listener.held and not isinstance(verdict, (Deny, Kill)):
            self._decision = decision
            self._refuse("held")
            return None
        if isinstance(verdict, Ask):
            self._decision = decision
            return self
        if isinstance(verdict, Allow) and (decision.looked or verdict.changes or verdict.grant):
            self._decision = decision
            begun = self._performed is not None or self._came is not None
            return self if begun else self._perform_now(decision)
        self._witness(decision.call)
        try:
            response = self.listener.answerer.answer(self.note, decision)
        except WouldBlock as look:
            self._decision, self._look = decision, look
            return self
        assert response is not None
        self._close(decision, response)
        return None

    def _perform_now(self, decision: Decision) -> Notification | None:
        """Do a call on files, if that takes no time; returns as `decide` does."""
        call, verdict = decision.call, decision.verdict
        if call is None or type(call) not in FILE_PERFORMERS:
            return self
        assert isinstance(verdict, Allow)
        self._witness(call)
        try:
            self._performed = self.listener.files.begin(call, verdict)
            done = self._performed.now()
            if done is not None:
                self._done(decision, done)
        except WouldBlock as look:
            self._look = look
        except Moved:
            self._ask_again()
        except TargetGone as gone:
            return self._gone(gone)
        except (NotifydError, OSError) as error:
            self._not_done(decision, error)
        return None if self.answered else self

    # -- in a task

    def enter_ledger(self) -> bool:
        """Go on record as a call that waits; refused, and False, if there is no room for it."""
        in_flight = self.listener.in_flight
        if in_flight is None or self._slot:
            return True
        self._slot = in_flight.enter(self.note)
        if not self._slot:
            self._refuse("crowded")
        return bool(self._slot)

    def give_up(self, reason: str, cause: str) -> None:
        """Refuse without asking the rules."""
        self._refuse(cause, reason=reason)

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
            self._settled()
        finally:
            self.listener.waiting.pop(self.note[ID], None)
            self._let_go()
            if not self.answered:
                self._abandoned()

    async def _runs_out_of_patience(self) -> bool:
        with trio.CancelScope() as scope:
            self.listener.wait(self.note[ID], scope)
            await self._see_through(scope)
        return scope.cancelled_caught and scope.deadline <= trio.current_time()

    async def _see_through(self, scope: trio.CancelScope) -> None:
        while not self.answered:
            try:
                if self._look is not None:
                    look, self._look = self._look, None
                    await worker.run(look.look)
                decision = self._decision or await self.evaluation.ask_async(scope)
                if isinstance(decision.verdict, Ask):
                    if not await self._fails_anyway(decision):
                        self._witness(decision.call)
                        about = decision, self._identity, self._args, self._slot
                        put = self._questions.put(self.listener, self.note, *about)
                        self._decision = await put
                    continue
                waits = self.conclude(decision) is not None and self._look is None
                if waits and self._decision is not None:  # else the rules are asked again
                    await self._perform(decision)
            except WouldBlock as again:
                self._look = again
            except TargetGone as gone:
                self._gone(gone)
            except worker.TooManyThreads as crowd:
                self._not_done(self._decision or self._refusal(None), crowd)

    async def _fails_anyway(self, decision: Decision) -> bool:
        """Whether an execve comes to nothing without anybody's leave, and is answered so.

        A shell tries every directory of PATH: nobody wants to be asked about those.
        """
        if not isinstance(decision.call, Exec) or self._questions.said:
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
            self._done(decision, done)
        return self.answered

    async def _perform(self, decision: Decision) -> None:
        call = decision.call
        assert isinstance(decision.verdict, Allow)
        try:
            if self._came is not None:
                self._done(decision, self._came)
                return
            if self._performed is not None:
                done = await self._performed.wait()
                if done.fd is not None and done.slow:
                    done = await given_slowly(self.listener, self.note, done.fd, done.cloexec)
                self._done(decision, done)
                return
            self._witness(call)
            if call is None:
                raise CannotPerform("nothing is known of this call that could be performed")
            found = await carry_out(self.listener, self.note, self._identity, decision, call)
            if isinstance(found, SyscallResult):
                self._done(decision, found)
            else:
                self._close(decision, found)
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
            self._refuse("moving", errno.EAGAIN)
            return
        self._decision = None
        self.evaluation.restart()

    def _done(self, decision: Decision, done: SyscallResult) -> None:
        """Answer with what was done. No checkpoint between the effect and this."""
        # Invariant: nothing of ours is open any more when the target goes on.
        self._let_go()
        self._came = done  # its memory may have to be waited for; it is not done again for that
        answerer, note, reason = self.listener.answerer, self.note, decision.reason
        try:
            if done.fd is not None:
                flags = os.O_CLOEXEC if done.cloexec else 0
                response = answerer.injected(note, done.fd, flags, reason)
            else:
                for address, data in done.memory:
                    decision.call.target.write(address, data)  # type: ignore[union-attr]
                response = answerer.performed(note, done.value, done.errno, reason)
        except TargetFault as fault:
            response = answerer.performed(note, 0, fault.errno, str(fault))
        self._close(decision, response)

    def _not_done(self, decision: Decision, error: NotifydError | OSError) -> None:
        """Refuse what could not be done, or could not be asked for at all."""
        self._let_go()
        answerer = self.listener.answerer
        if isinstance(error, TargetFault):
            response = answerer.performed(self.note, 0, error.errno, str(error))
        else:
            reason = f"not done: {error}"
            cause = "crowded" if isinstance(error, worker.TooManyThreads) else "undone"
            response = answerer.refuse(self.note, "deny", errno.EPERM, reason, cause)
            decision = decision._replace(broken=isinstance(error, RuleError))
        self._close(decision, response)

    def _let_go(self) -> None:
        performed, self._performed = self._performed, None
        if performed is not None:
            performed.close()

    # -- the end

    def _abandoned(self) -> None:
        """The task was cancelled: the target is gone, or the supervisor ends while it waits."""
        if self.listener.left:
            self.answered = True  # by whoever finds it on record
            self.evaluation.close()
            return
        if self.listener.descriptor >= 0 and self.listener.notifier.id_valid(self.note[ID]):
            self._refuse("ended")
        else:
            self._close(self._refusal(None), Response("deny", HOW_GONE))

    def _gone(self, error: TargetGone) -> Notification | None:
        """The target is said to be gone; or a rule stumbled on another one that is."""
        # Invariant: every received call gets its answer, or is found gone by its own id.
        if self.listener.notifier.id_valid(self.note[ID]):
            self._decision = None
            self.evaluation.failed(error)
            return self._ask()
        asked = self.evaluation.asked
        refusal = self._refusal(explain(error))._replace(rule=asked.name if asked else None)
        self._close(refusal, Response("deny", HOW_GONE))
        return None

    def _refuse(self, cause: str, number: int = errno.EPERM, reason: str = "") -> None:
        """Refuse although no rule wanted so."""
        self._let_go()
        why = reason or CAUSES[cause]
        response = self.listener.answerer.refuse(self.note, "deny", number, why, cause)
        self._close(self._decision or self._refusal(why), response)

    def _refusal(self, reason: str | None) -> Decision:
        return Decision(Deny(errno.EPERM), self.evaluation.last_call, False, None, reason)

    def _go_on(self, changes: frozenset[Change]) -> Notification | None:
        """Let a call go on that no rule named, and that is notified for our own sake only."""
        answerer = self.listener.answerer
        if Change.CONFINED in changes:
            # What a thread forbids itself, performing would allow it again: landlock(7).
            answerer.refuse(self.note, "deny", errno.EOPNOTSUPP, None)
        else:
            answerer.go_on(self.note, "allow", None)
        self.listener.note_change(self.note, None)
        self._settled()
        return None

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

    def _settled(self) -> None:
        """The kernel has its answer, or wants none."""
        self.answered = True
        self.evaluation.close()
        if self.listener.in_flight is not None:
            self.listener.in_flight.leave(self._slot)

    def _close(self, decision: Decision, response: Response) -> None:
        # Invariant: the one place where a received call ends, answered or gone.
        self._settled()
        self._let_go()
        listener = self.listener
        if response.how == HOW_GONE:
            listener.notifier.gone(self.note[ID])
        call = decision.call
        operation, syscall = listener.named(self.note, call)
        if listener.watched:
            listener.note_change(self.note, self._identity)
        if decision.broken:
            listener.reporter.failed(*self.evaluation.failure or (decision.rule, response.reason))
        if listener.unobserved:
            return
        asked, waited = self._questions, self._questions.waited
        # fmt: off
        listener.reporter.answered(CallRecord(
            listener.reporter.epoch + self._begun, listener.name, self._identity, self.note[PID],
            operation, syscall, arch_name(self.note[ARCH]), self._args,
            "ask" if asked.said else response.verdict,
            response.how, response.errno, response.value, decision.rule, response.reason,
            response.racy,
            clock() - self._begun - waited, waited, asked.asked, response.cause,
        ))
        # fmt: on
