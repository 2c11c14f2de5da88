"""Asking the rules of a call, inline or with waiting, and failing closed when one of them fails.

Plain rules are asked inline. The first async rule turns the rest of the evaluation into a
coroutine, which the supervisor runs in a task of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable

import trio

from notifyd.errors import TargetGone
from notifyd.policy.call import Call
from notifyd.policy.evaluation import MAX_TRACEBACK_CHARS, Decision, Evaluation, explain, shown
from notifyd.policy.rule import Rule
from notifyd.target.paths import WouldBlock

__all__ = ["MAX_TRACEBACK_CHARS", "Decision", "ResumableEvaluation", "explain", "shown"]


class ResumableEvaluation(Evaluation):
    """An evaluation that can be asked for: what was asked already is not asked again."""

    __slots__ = ()

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
                return None
            self._ask_plain(rule, call)
        return self.conclusion()

    async def ask_async(self) -> Decision:
        """Ask the rules from where it stands, and wait for those that are async; raises as `ask`.

        Raises:
            Cancelled: as trio has it. Whatever a rule made of it, it has not failed.
        """
        while (turn := self.advance()) is not None:
            rule, call = turn
            if rule.is_async:
                await self._ask_waiting(rule, call)
            else:
                self._ask_plain(rule, call)
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

    async def _ask_waiting(self, rule: Rule, call: Call) -> None:
        try:
            verdict = await _patiently(rule, call)
        except (WouldBlock, TargetGone):
            raise
        except BaseException as error:
            await self._waited_in_vain(error)
        else:
            # A rule may swallow that it is cancelled. Then its verdict is nobody's any more.
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


async def _patiently(rule: Rule, call: Call) -> object:
    waiting: Awaitable[object] = rule.function(call)
    if rule.patience is None:
        return await waiting
    # What trio.move_on_after makes, without the price of its wrappers.
    with trio.CancelScope(deadline=trio.current_time() + rule.patience) as scope:
        verdict = await waiting
    if scope.cancel_called:  # also where the rule swallowed that, and came back late
        raise TimeoutError(f"no verdict within {rule.patience:g} seconds")
    return verdict


def _only(error: BaseException) -> BaseException:
    """What a group comes to: what each task of it raised, if that was the same; else the group."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_only(one) for one in error.exceptions]
    others = [one for one in found if not isinstance(one, trio.Cancelled)]
    kinds = {type(one) for one in others or found}
    return (others or found)[0] if len(kinds) == 1 else error
