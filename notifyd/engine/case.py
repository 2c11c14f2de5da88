"""A case: one call that is more than a plain verdict at once, from its rules to its report.

It is decided inline as far as that goes; what has to wait goes on in a task (`attend`). A case is
answered in one place, `_close`, and only there.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

import trio

from notifyd.engine.answer import CAUSES, GONE, Outcome
from notifyd.engine.asking import what_it_comes_to
from notifyd.engine.decide import Decision, Inquiry, explain
from notifyd.engine.executed import carry_out
from notifyd.engine.giving import given_slowly
from notifyd.engine.questions import Questions
from notifyd.engine.workload import Workload
from notifyd.errors import CannotPerform, NotifydError, RuleError, TargetFault, TargetGone
from notifyd.events.record import Record
from notifyd.kernel.arch import arch_name
from notifyd.perform import RECIPES, Done, FileDeed, Moved, worker
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.operations import Exec
from notifyd.policy.verdicts import Allow, Ask, Deny, Kill
from notifyd.target.identity import Identity
from notifyd.target.paths import WouldBlock
from notifyd.target.watch import Change

LATE = 1_000_000  # nanoseconds; a task that begins so long after its call looks whether it is there
MOVES = 16  # times that a rule is asked again because what it saw has moved
clock = time.perf_counter_ns


class Case:
    """One received call of a workload."""

    __slots__ = (
        "_args",
        "_begun",
        "_came",
        "_decision",
        "_deed",
        "_identity",
        "_look",
        "_moved",
        "_questions",
        "_slot",
        "answered",
        "inquiry",
        "note",
        "workload",
    )

    def __init__(self, workload: Workload, note: Note, begun: int, slot: int = 0) -> None:
        self.workload = workload
        self.note = note
        self.inquiry = Inquiry(
            note, workload.plans.get((note[ARCH], note[NR]), ()), workload.rules, workload
        )
        self.answered = False
        self._begun = begun
        self._identity: Identity | None = None
        self._args: dict[str, Any] | None = None
        self._decision: Decision | None = None
        self._look: WouldBlock | None = None
        self._deed: FileDeed | None = None
        self._came: Done | None = None  # of what is done, and not answered yet
        self._moved = 0
        self._slot = slot  # in the ledger; 0 for none
        self._questions = Questions()

    # -- inline

    def decide(self) -> Case | None:
        """Ask the rules inline, and answer. Returns itself if it has to be attended in a task."""
        changes = self.workload.foresee(self.note)
        return self._go_on(changes) if changes and not self.inquiry.steps else self._ask()

    def _ask(self) -> Case | None:
        try:
            decision = self.inquiry.ask()
        except WouldBlock as look:
            self._look = look
            return self
        except TargetGone as gone:
            return self._gone(gone)
        return self if decision is None else self.conclude(decision)

    def ruled(self, call: Call, verdict: object) -> Case | None:
        """Go on from the verdict of the only rule, asked already; returns as `decide` does."""
        return self.conclude(self.inquiry.judge(call, verdict))

    def failed(self, call: Call, error: BaseException) -> Case | None:
        """Go on from what the only rule raised, or what followed; returns as `decide` does."""
        self.inquiry.adopt(call)
        if isinstance(error, WouldBlock):
            self._look = error
            return self
        if isinstance(error, TargetGone):
            return self._gone(error)
        self.inquiry.failed(error)
        return self.conclude(self.inquiry.conclusion())

    def conclude(self, decision: Decision) -> Case | None:
        """Answer, if that can be done inline; returns as `decide` does."""
        verdict = decision.verdict
        if self.workload.held and not isinstance(verdict, (Deny, Kill)):
            self._decision = decision
            self._refuse("held")
            return None
        if isinstance(verdict, Ask):
            self._decision = decision
            return self
        if isinstance(verdict, Allow) and (decision.looked or verdict.changes or verdict.grant):
            self._decision = decision
            begun = self._deed is not None or self._came is not None
            return self if begun else self._perform_now(decision)
        self._witness(decision.call)
        try:
            outcome = self.workload.answerer.answer(self.note, decision)
        except WouldBlock as look:
            self._decision, self._look = decision, look
            return self
        assert outcome is not None
        self._close(decision, outcome)
        return None

    def _perform_now(self, decision: Decision) -> Case | None:
        """Do a call on files, if that takes no time; returns as `decide` does."""
        call, verdict = decision.call, decision.verdict
        if call is None or type(call) not in RECIPES:
            return self
        assert isinstance(verdict, Allow)
        self._witness(call)
        try:
            self._deed = self.workload.files.begin(call, verdict)
            done = self._deed.now()
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
        ledger = self.workload.ledger
        if ledger is None or self._slot:
            return True
        self._slot = ledger.enter(self.note)
        if not self._slot:
            self._refuse("crowded")
        return bool(self._slot)

    def give_up(self, reason: str, cause: str) -> None:
        """Refuse without asking the rules."""
        self._refuse(cause, reason=reason)

    async def attend(self) -> None:
        """See the case through in a task of its own: slow looks, async rules, performing.

        Cancelled from outside only when the target is gone or the supervisor ends.
        """
        try:
            with trio.CancelScope() as scope:
                self.workload.wait(self.note[ID], scope)
                if clock() - self._begun > LATE and not self.workload.id_valid(self.note[ID]):
                    return  # it is gone: the rest would only keep others waiting
                await self._see_through()
        except Exception as error:  # ours, not a rule's: refuse this call, keep the others
            self.workload.broke(self.note, error)
            self._settled()
        finally:
            self.workload.waiting.pop(self.note[ID], None)
            self._let_go()
            if not self.answered:
                self._abandoned()

    async def _see_through(self) -> None:
        while not self.answered:
            try:
                if self._look is not None:
                    look, self._look = self._look, None
                    await worker.run(look.look)
                decision = self._decision or await self.inquiry.ask_async()
                if isinstance(decision.verdict, Ask):
                    if not await self._fails_anyway(decision):
                        self._witness(decision.call)
                        about = decision, self._identity, self._args, self._slot
                        put = self._questions.put(self.workload, self.note, *about)
                        self._decision = await put
                    continue
                waits = self.conclude(decision) is not None and self._look is None
                if waits and self._decision is not None:  # else the rules are asked again
                    await self._perform(decision)
            except WouldBlock as again:
                self._look = again
            except TargetGone as gone:
                self._gone(gone)
            except worker.Crowded as crowd:
                self._not_done(self._decision or self._refusal(None), crowd)

    async def _fails_anyway(self, decision: Decision) -> bool:
        """Whether an execve comes to nothing without anybody's leave, and is answered so.

        A shell tries every directory of PATH: nobody wants to be asked about those.
        """
        if not isinstance(decision.call, Exec) or self._questions.said:
            return False
        self._witness(decision.call)
        try:
            done = await what_it_comes_to(self.workload, decision.call)
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
            if self._deed is not None:
                done = await self._deed.wait()
                if done.fd is not None and done.slow:
                    done = await given_slowly(self.workload, self.note, done.fd, done.cloexec)
                self._done(decision, done)
                return
            self._witness(call)
            if call is None:
                raise CannotPerform("nothing is known of this call that could be performed")
            found = await carry_out(self.workload, self.note, self._identity, decision, call)
            if isinstance(found, Done):
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
        if self._moved > MOVES:
            self._refuse("moving", errno.EAGAIN)
            return
        self._decision = None
        self.inquiry.restart()

    def _done(self, decision: Decision, done: Done) -> None:
        """Answer with what was done. No checkpoint between the effect and this."""
        # Invariant: nothing of ours is open any more when the target goes on.
        self._let_go()
        self._came = done  # its memory may have to be waited for; it is not done again for that
        answerer, note, reason = self.workload.answerer, self.note, decision.reason
        try:
            if done.fd is not None:
                flags = os.O_CLOEXEC if done.cloexec else 0
                outcome = answerer.injected(note, done.fd, flags, reason)
            else:
                for address, data in done.memory:
                    decision.call.target.write(address, data)  # type: ignore[union-attr]
                outcome = answerer.performed(note, done.value, done.errno, reason)
        except TargetFault as fault:
            outcome = answerer.performed(note, 0, fault.errno, str(fault))
        self._close(decision, outcome)

    def _not_done(self, decision: Decision, error: NotifydError | OSError) -> None:
        """Refuse what could not be done, or could not be asked for at all."""
        self._let_go()
        answerer = self.workload.answerer
        if isinstance(error, TargetFault):
            outcome = answerer.performed(self.note, 0, error.errno, str(error))
        else:
            reason = f"not done: {error}"
            cause = "crowded" if isinstance(error, worker.Crowded) else "undone"
            outcome = answerer.refuse(self.note, "deny", errno.EPERM, reason, cause)
            decision = decision._replace(broken=isinstance(error, RuleError))
        self._close(decision, outcome)

    def _let_go(self) -> None:
        deed, self._deed = self._deed, None
        if deed is not None:
            deed.close()

    # -- the end

    def _abandoned(self) -> None:
        """The task was cancelled: the target is gone, or the supervisor ends while it waits."""
        if self.workload.left:
            self.answered = True  # by whoever finds it on record
            self.inquiry.close()
            return
        if self.workload.listener >= 0 and self.workload.notifier.id_valid(self.note[ID]):
            self._refuse("ended")
        else:
            self._close(self._refusal(None), Outcome("deny", GONE))

    def _gone(self, error: TargetGone) -> Case | None:
        """The target is said to be gone; or a rule stumbled on another one that is."""
        # Invariant: every received call gets its answer, or is found gone by its own id.
        if self.workload.notifier.id_valid(self.note[ID]):
            self._decision = None
            self.inquiry.failed(error)
            return self._ask()
        asked = self.inquiry.asked
        refusal = self._refusal(explain(error))._replace(rule=asked.name if asked else None)
        self._close(refusal, Outcome("deny", GONE))
        return None

    def _refuse(self, cause: str, number: int = errno.EPERM, reason: str = "") -> None:
        """Refuse although no rule wanted so."""
        self._let_go()
        why = reason or CAUSES[cause]
        outcome = self.workload.answerer.refuse(self.note, "deny", number, why, cause)
        self._close(self._decision or self._refusal(why), outcome)

    def _refusal(self, reason: str | None) -> Decision:
        return Decision(Deny(errno.EPERM), self.inquiry.last_call, False, None, reason)

    def _go_on(self, changes: frozenset[Change]) -> Case | None:
        """Let a call go on that no rule named, and that is notified for our own sake only."""
        answerer = self.workload.answerer
        if Change.CONFINED in changes:
            # What a thread forbids itself, performing would allow it again: landlock(7).
            answerer.refuse(self.note, "deny", errno.EOPNOTSUPP, None)
        else:
            answerer.go_on(self.note, "allow", None)
        self.workload.heed(self.note, None)
        self._settled()
        return None

    def _witness(self, call: Call | None) -> None:
        """Take down who calls and with what, as long as the target stands still."""
        workload = self.workload
        if workload.silent:
            return
        try:
            self._identity = workload.identities.of(self.note[PID])
            self._args = self.inquiry.as_made(call).describe() if call is not None else None
        except (TargetGone, WouldBlock):
            pass  # the answer will find out that it is gone; an event is not worth waiting for

    def _settled(self) -> None:
        """The kernel has its answer, or wants none."""
        self.answered = True
        self.inquiry.close()
        if self.workload.ledger is not None:
            self.workload.ledger.leave(self._slot)

    def _close(self, decision: Decision, outcome: Outcome) -> None:
        # Invariant: the one place where a received call ends, answered or gone.
        self._settled()
        self._let_go()
        workload = self.workload
        if outcome.how == GONE:
            workload.notifier.gone(self.note[ID])
        call = decision.call
        operation, syscall = workload.named(self.note, call)
        if workload.watched:
            workload.heed(self.note, self._identity)
        if decision.broken:
            workload.reporter.failed(*self.inquiry.failure or (decision.rule, outcome.reason))
        if workload.silent:
            return
        asked, waited = self._questions, self._questions.waited
        # fmt: off
        workload.reporter.answered(Record(
            workload.reporter.epoch + self._begun, workload.name, self._identity, self.note[PID],
            operation, syscall, arch_name(self.note[ARCH]), self._args,
            "ask" if asked.said else outcome.verdict,
            outcome.how, outcome.errno, outcome.value, decision.rule, outcome.reason, outcome.racy,
            clock() - self._begun - waited, waited, asked.asked, outcome.cause,
        ))
        # fmt: on
