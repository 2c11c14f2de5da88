"""What a person was asked about one call, one question after the other, and what they said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from notifyd.approvals.question import Resolution
from notifyd.engine.asking import ask_person, concluded, what_it_binds
from notifyd.engine.decide import Decision
from notifyd.policy.call import Note
from notifyd.policy.operations import Exec

if TYPE_CHECKING:
    from notifyd.engine.listener import Listener
    from notifyd.target.identity import Identity

__all__ = ["CallQuestions", "whole"]

clock = time.perf_counter_ns


def whole(decision: Decision) -> Decision:
    """A question with what other files make of the call: a person agrees to what happens.

    A file that is asked later may lead the call elsewhere or lend it a power, of which the one that
    asks knows nothing.
    """
    ask: Any = decision.verdict
    changes, grant = decision.made_later or ({}, None)
    made = [f"{name}={value}" for name, value in changes.items()]
    if grant:
        made.append(f"grant={grant}")
    if not made:
        return decision
    text = f"{ask.question} [with {', '.join(made)}]"
    return decision._replace(verdict=msgspec.structs.replace(ask, question=text))


class CallQuestions:
    """The questions of one call.

    Attributes:
        said: each question that was asked, or could not be, by what it binds, and what came of it.
        asked: the number of the last question; 0 if it has none.
        waited: nanoseconds that the call has waited for a person.
    """

    __slots__ = ("asked", "said", "waited")

    def __init__(self) -> None:
        self.asked = 0
        self.waited = 0
        self.said: tuple[tuple[str, Resolution], ...] = ()  # by what it was bound to

    async def put(
        self,
        listener: Listener,
        note: Note,
        decision: Decision,
        identity: Identity | None,
        args: Mapping[str, Any] | None,
        slot: int = 0,
    ) -> Decision:
        """Ask a person, and say what follows. What moved meanwhile is not asked about again.

        Args:
            listener: whose call it is.
            note: the notification.
            decision: with an `Ask`.
            identity: who calls.
            args: of the call, as events tell them.
            slot: where the call is on record; 0 for nowhere.

        Raises:
            TargetGone.
        """
        about = await what_it_binds(decision)
        # Of a program, what it holds is a part of the question: another one is asked about anew.
        found = None if isinstance(decision.call, Exec) else self._known(about)
        if found is None:
            begun = clock()
            try:
                mine = whole(decision)
                found = await ask_person(listener, note, mine, about, identity, args, slot)
            finally:
                self.waited += clock() - begun
            self.said = *self.said, (about, found)
            self.asked = found.question
        return concluded(decision, found)

    def _known(self, about: str) -> Resolution | None:
        """What came of a question of this call that was asked before."""
        return next((said for asked, said in self.said if asked == about), None)
