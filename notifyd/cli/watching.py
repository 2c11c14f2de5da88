"""`notifyd ctl watch`: asking at the terminal, one question after the other."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from notifyd.approvals.question import Scope
from notifyd.cli.answers import FLUSH_DELAY_S, QUESTION_PAUSE_S, Choices, TypedAnswer
from notifyd.cli.approval_tables import answered, card
from notifyd.cli.control_client import Connection
from notifyd.cli.terminal_modes import by_lines, lines, read_line
from notifyd.daemon import protocol
from notifyd.daemon.approval_messages import (
    ApproveRequest,
    DenyRequest,
    QuestionsRequest,
    QuestionView,
)
from notifyd.errors import UsageError
from notifyd.events.sanitize import json_line

__all__ = ["print_questions", "watch_questions"]

Ask = Callable[[protocol.ControlRequest], Any]

_ENDED = "the daemon has ended, or ended this: see its log"


def print_questions(connection: Connection) -> None:
    """Print every question once, as it comes, a line of JSON each; until the daemon ends.

    Raises:
        UsageError: it has ended.
    """
    known = set[int]()
    _print_new(connection.ask(QuestionsRequest()), known)
    for piece in connection.pieces():
        for line in piece.splitlines():
            _print_new(connection.parsed(line, "questions"), known)
    raise UsageError(_ENDED)


def _print_new(questions: list[QuestionView], known: set[int]) -> None:
    for one in questions:
        if one.id not in known:
            click.echo(json_line(msgspec.json.encode(one)))
    known &= {one.id for one in questions}
    known |= {one.id for one in questions}
    sys.stdout.flush()


def watch_questions(connection: Connection, ask: Ask) -> None:
    """Ask until the person quits.

    Args:
        connection: where questions come from; it stays the caller's.
        ask: how an answer is given.

    Raises:
        UsageError: there is no terminal, or the daemon has ended.
    """
    fd = sys.stdin.fileno()
    if not (os.isatty(fd) and sys.stdout.isatty()):
        raise UsageError("watch asks at a terminal: use `notifyd ctl pending` here, or --json")
    with _ended_by_signals(), lines(fd):
        _Watch(connection, ask, fd).run()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """What a signal ends is put in order first, as the terminal."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    handlers = {one: signal.signal(one, _leave) for one in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


class _Watch:
    """One sitting.

    Args:
        fd: the terminal.
    """

    def __init__(self, connection: Connection, ask: Ask, fd: int) -> None:
        self._connection = connection
        self._ask = ask
        self._fd = fd
        self._waiting: list[QuestionView] = []
        self._done = set[int]()  # answered here or skipped
        self._shown: QuestionView | None = None
        self._idle = False

    def run(self) -> None:
        """Show, wait, answer, until the person quits."""
        self._waiting = self._connection.ask(QuestionsRequest())
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ, self._typed)
            selector.register(self._connection, selectors.EVENT_READ, self._news)
            going = True
            while going:
                self._show()
                ready = selector.select(0 if self._connection.waits else None)
                if not ready:
                    self._news()
                for key, _ in ready:
                    going = key.data() and going

    def _show(self) -> None:
        """Show the oldest question that is neither answered nor skipped."""
        if self._shown is not None:
            return
        self._shown = next((one for one in self._waiting if one.id not in self._done), None)
        if self._shown is not None:
            self._idle = False
            click.echo("\n" + "\n".join(card(self._shown)))
            # Invariant: what was typed before a question could be read is no answer to it; and
            # others who have the terminal open may have set it since.
            time.sleep(FLUSH_DELAY_S)
            found = termios.tcgetattr(self._fd)
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, by_lines(found))
            self._prompt()
        elif not self._idle:
            self._idle = True
            click.echo("waiting for questions; q quits")

    def _choices(self) -> Choices:
        """What can be said now; nothing but to leave, while there is no question."""
        scopes = self._shown.scopes if self._shown is not None else []
        return Choices(tuple(map(Scope, scopes)), shared=True)

    def _prompt(self) -> None:
        click.echo(self._choices().prompt, nl=False)
        sys.stdout.flush()

    def _news(self) -> bool:
        """Take the newest list."""
        piece = self._connection.piece()
        if piece is None:
            raise UsageError(_ENDED)
        if piece:
            self._waiting = self._connection.parsed(piece.splitlines()[-1], "questions")
        ids = {one.id for one in self._waiting}
        self._done &= ids
        if self._shown is not None and self._shown.id not in ids:
            click.echo(f"\nquestion {self._shown.id} waits no more")
            self._shown = None
            time.sleep(QUESTION_PAUSE_S)
        return True

    def _typed(self) -> bool:
        """Take one line; False to leave: Ctrl-D leaves what is shown to others, as Ctrl-C does."""
        line = read_line(self._fd)
        if line is None:
            return False
        try:
            said = self._choices().parse(line)
        except UsageError as error:
            if self._shown is not None:
                click.echo(error)
                self._prompt()
            return True
        if said == "quit":
            return False
        if self._shown is not None and (said == "skip" or self._answered(self._shown, said)):
            self._done.add(self._shown.id)
            self._shown = None
            time.sleep(QUESTION_PAUSE_S)
        return True

    def _answered(self, question: QuestionView, said: TypedAnswer) -> bool:
        """Give an answer. One that is refused is told, and the question stays."""
        kind = ApproveRequest if said.granted else DenyRequest
        scope: Any = said.scope.value
        request = kind(id=question.id, scope=scope, minutes=said.minutes, reason=said.reason)
        try:
            click.echo("\n".join(answered(self._ask(request))))
        except UsageError as error:
            click.echo(f"not answered: {error}")
            self._prompt()
            return False
        return True
