"""Asking the rules of a call, inline or with waiting, and failing closed when one of them fails.

Plain rules are asked inline. The first async rule turns the rest of the evaluation into a
coroutine, which the supervisor runs in a task of its own.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import cast

import trio

from notifyd.errors import TargetGone
from notifyd.policy.call import Call
from notifyd.policy.evaluation import MAX_TRACEBACK_CHARS, Decision, Evaluation, explain, shown
from notifyd.policy.rule import Rule
from notifyd.target.paths import WouldBlock

__all__ = ["MAX_TRACEBACK_CHARS", "Decision", "ResumableEvaluation", "explain", "shown"]


class ResumableEvaluation(Evaluation):
    """An evaluation that can be asked for: what was asked already is not asked again."""

    __slots__ = ("_timed", "_turn")

    def _begin(self) -> None:
        super()._begin()
        self._turn: tuple[Rule, Call] | None = None  # the async rule that `ask` came upon
        self._timed = False  # whether `deadline` was asked for, for that one

    def ask(self) -> Decision | None:
        """Ask the rules from where it stands.

        Returns:
            The decision, or None where the next one to ask is async (`ask_async` then).

        Raises:
            WouldBlock: a rule wants to look where looking may wait; it is asked again then.
            TargetGone: the target is gone.
        """
        while (turn := self.advance()) is not None:
            rule, call = turn
            if rule.is_async:
                self._turn = turn
                return None
            self._ask_plain(rule, call)
        return self.conclusion()

    def deadline(self) -> float:
        """Until when the async rule that is next may wait; of the scope for `ask_async`.

        A scope that begins with it is cheaper than one that is given it.
        """
        self._timed = self._turn is not None
        return _deadline_of(self._turn[0]) if self._turn is not None else math.inf

    async def ask_async(self, scope: trio.CancelScope | None = None) -> Decision:
        """Ask the rules from where it stands, and wait for those that are async; raises as `ask`.

        Args:
            scope: the caller's, which gets the patience of each rule for its deadline, and keeps
                that of the last one: a scope for each rule would cost a fifth of a call. If it ends
                by that, say so (`ran_out`), and ask on in another one. By default all this is done
                here.

        Raises:
            trio.Cancelled: as trio has it. Whatever a rule made of it, it has not failed.
        """
        while scope is None:
            with trio.CancelScope(deadline=self.deadline()) as own:
                return await self.ask_async(own)
            self.ran_out()
        timed, self._timed = self._timed, False
        turn, self._turn = self._turn or self.advance(), None
        while turn is not None:
            rule, call = turn
            if not rule.is_async:
                self._ask_plain(rule, call)
            else:
                if not timed:
                    scope.deadline = _deadline_of(rule)
                timed = False
                await self._ask_waiting(rule, call, scope)
            turn = self.advance()
        return self.conclusion()

    def judge(self, call: Call, verdict: object) -> Decision:
        """What the verdict of the only rule there is comes to, nonsense and no opinion included."""
        self.adopt(call)
        self.accept(verdict)
        return self.conclusion()

    def _ask_plain(self, rule: Rule, call: Call) -> None:
        try:
            verdict = rule.function(call)
        except (WouldBlock, TargetGone):
            raise
        except BaseException as error:  # a rule may raise anything, SystemExit included
            self.failed(error)
        else:
            self.accept(verdict)

    def ran_out(self) -> None:
        """The patience with the rule that was asked is over: it has failed."""
        assert isinstance(self.asked, Rule)
        self.failed(TimeoutError(f"no verdict within {self.asked.patience:g} seconds"))

    async def _ask_waiting(self, rule: Rule, call: Call, scope: trio.CancelScope) -> None:
        try:
            verdict = await cast(Awaitable[object], rule.function(call))
        except (WouldBlock, TargetGone):
            raise
        except BaseException as error:
            await self._waited_in_vain(error)
        else:
            # A rule may swallow that it is cancelled, or come back late without having waited.
            # Then its verdict is nobody's any more.
            _ = scope.cancel_called  # looks at the deadline, which trio does only now and then
            await trio.lowlevel.checkpoint_if_cancelled()
            self.accept(verdict)

    async def _waited_in_vain(self, error: BaseException) -> None:
        """Tell apart what came out of an async rule: a nursery wraps what is raised within it."""
        # Invariant: a target that goes away, and a supervisor that ends, are no failure of a rule.
        await trio.lowlevel.checkpoint_if_cancelled()
        inner = _only(error)
        if isinstance(inner, WouldBlock | TargetGone):
            raise inner
        if isinstance(inner, trio.Cancelled):  # not ours, for that was seen above
            inner = RuntimeError("raised a trio.Cancelled that belongs to no cancellation")
        self.failed(inner)


def _deadline_of(rule: Rule) -> float:
    return math.inf if rule.patience is None else trio.current_time() + rule.patience


def _only(error: BaseException) -> BaseException:
    """What a group comes to: what each task of it raised, if that was the same; else the group."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_only(one) for one in error.exceptions]
    others = [one for one in found if not isinstance(one, trio.Cancelled)]
    kinds = {type(one) for one in others or found}
    return (others or found)[0] if len(kinds) == 1 else error
