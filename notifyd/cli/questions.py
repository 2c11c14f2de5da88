"""The questions of one `notifyd run`: nothing is opened before the first one comes."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from notifyd.errors import UsageError

if TYPE_CHECKING:
    from notifyd.approvals.question import Question, Resolution
    from notifyd.approvals.queue import ApprovalQueue
    from notifyd.approvals.store import Store
    from notifyd.cli.asking import Terminal
    from notifyd.engine.report import Reporter
    from notifyd.launch.relay import Relay

__all__ = ["TerminalQuestions"]

_NOBODY = "nobody can be asked: there is no terminal, and no daemon (--service)"


class TerminalQuestions:
    """Asks at the terminal, and remembers in a database of the user's.

    Args:
        nursery: where the terminal is attended.
        undo: closes the terminal and the database. The nursery has to end before: its threads may
            be writing.
        reporter: where events go.
        relay: what shows the command at the terminal; None if there is none, or the command has it.
    """

    def __init__(
        self, nursery: trio.Nursery, undo: ExitStack, reporter: Reporter, relay: Relay | None
    ) -> None:
        self._relay = relay
        self._nursery = nursery
        self._undo = undo
        self._reporter = reporter
        self._queue: ApprovalQueue | None = None
        self._terminal: Terminal | None = None

    def heard(self, number: int) -> None:
        """A signal came: whoever presses Ctrl-C at a question says no."""
        if self._terminal is not None and number in (signal.SIGINT, signal.SIGQUIT):
            self._terminal.interrupt()

    async def ask(self, draft: Question) -> Resolution:
        """Ask, as `approvals.queue.ApprovalQueue` does."""
        if self._queue is None:
            self._queue = self._open()
        return await self._queue.ask(draft)

    def _open(self) -> ApprovalQueue:
        from notifyd.approvals.queue import ApprovalQueue
        from notifyd.cli.asking import Terminal

        queue = ApprovalQueue(self._reporter.event, self._store())
        queue.nobody = _NOBODY
        self._nursery.start_soon(queue.run)
        if self._relay is None:
            return queue
        try:
            self._terminal = self._undo.enter_context(Terminal(self._relay))
        except OSError:
            return queue  # what is remembered holds all the same
        queue.attended = 1
        self._nursery.start_soon(self._terminal.attend, queue)
        return queue

    def _store(self) -> Store | None:
        from notifyd.approvals.store import Store, user_path

        try:
            return self._undo.enter_context(Store(user_path()))
        except UsageError as error:
            self._reporter.event("approval.lost", "warning", error=str(error))
            return None
