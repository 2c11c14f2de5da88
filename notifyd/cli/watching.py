"""`notifyd ctl watch`: asking at the terminal, one question after the other, by single keys."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import click
import msgspec

from notifyd.cli.approval_tables import answered, card
from notifyd.cli.control_client import Connection
from notifyd.cli.terminal_modes import by_keys, by_lines
from notifyd.daemon import protocol
from notifyd.daemon.approval_messages import (
    MAX_ANSWER_MINUTES,
    ApproveRequest,
    DenyRequest,
    QuestionsRequest,
    QuestionView,
)
from notifyd.errors import UsageError
from notifyd.events.sanitize import json_line

__all__ = ["print_questions", "watch_questions"]

Ask = Callable[[protocol.ControlRequest], Any]

_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "y": ("once", "yes"),
        "p": ("process", "this process"),
        "w": ("workload", "workload"),
        "m": ("minutes", "minutes"),
        "a": ("always", "always"),
    }
)
_END = "\x04"  # Ctrl-D
# seconds without answers after a question went away: a key was meant for that one
KEY_GRACE_S = 0.6
_MAX_LINE_BYTES = 4096  # bytes of a line that is typed
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
    with _single_keys(fd):
        _Watch(connection, ask, fd).run()


@contextmanager
def _single_keys(fd: int) -> Iterator[None]:
    """Keys come at once and unseen; the terminal is as before afterwards, also after SIGTERM."""
    saved = termios.tcgetattr(fd)
    handlers = {one: signal.signal(one, _leave) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        termios.tcsetattr(fd, termios.TCSAFLUSH, by_keys(saved))
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
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
        self._reason = ""
        self._settled = 0.0  # monotonic; until then no key counts

    def run(self) -> None:
        """Show, wait, answer, until the person quits."""
        self._waiting = self._connection.ask(QuestionsRequest())
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ, self._keys)
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
            # A key that was pressed before a question was there is no answer to it; and others who
            # have the terminal open may have set it since.
            self._set(by_keys, forget=True)
            self._idle, self._reason = False, ""
            click.echo("\n" + "\n".join(card(self._shown)))
            self._prompt()
        elif not self._idle:
            self._idle = True
            click.echo("waiting for questions; q quits")

    def _prompt(self) -> None:
        assert self._shown is not None
        can = [f"[{key}] {text}" for key, (scope, text) in _KEYS.items() if self._offers(scope)]
        rest = ["[n] no", *can[1:], "[r] reason", "[s] skip", "[q] quit"]
        click.echo(" ".join([*can[:1], *rest]))

    def _offers(self, scope: str) -> bool:
        return self._shown is not None and scope in self._shown.scopes

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
            click.echo(f"question {self._shown.id} waits no more")
            self._shown = None
            self._settled = time.monotonic() + KEY_GRACE_S
        return True

    def _keys(self) -> bool:
        """Take one key; False to quit."""
        key = os.read(self._fd, 1).decode("ascii", "replace")
        if key in ("", "q", _END):
            return False
        if key == "\x1b":
            # The rest of what an arrow key sends is no answer: in some terminals it ends in `a`.
            termios.tcflush(self._fd, termios.TCIFLUSH)
            return True
        if self._shown is None or time.monotonic() < self._settled:
            return True
        if key == "s":
            self._over()
        elif key == "r":
            self._reason = self._line("reason: ")[:1000]
            self._prompt()
        elif key == "n":
            self._answer(DenyRequest(id=self._shown.id, reason=self._reason))
        elif key in _KEYS:
            self._approve(_KEYS[key][0])
        elif key.strip():
            self._prompt()
        return True

    def _approve(self, scope: Any) -> None:
        assert self._shown is not None
        if not self._offers(scope):
            click.echo(f"this question cannot be answered for {scope}")
            return
        minutes = self._minutes() if scope == "minutes" else 0.0
        if scope != "minutes" or minutes:
            self._answer(
                ApproveRequest(id=self._shown.id, scope=scope, minutes=minutes, reason=self._reason)
            )

    def _minutes(self) -> float:
        """How many; 0 for nonsense."""
        text = self._line("minutes: ").strip()
        if (
            text.isascii()
            and text.isdigit()
            and len(text) < 7
            and 0 < int(text) <= MAX_ANSWER_MINUTES
        ):
            return float(text)
        click.echo(f"1 to {MAX_ANSWER_MINUTES}; nothing is answered")
        return 0.0

    def _answer(self, request: protocol.ControlRequest) -> None:
        """Give an answer. One that is refused is told, and the question stays."""
        try:
            for line in answered(self._ask(request)):
                click.echo(line)
        except UsageError as error:
            click.echo(f"not answered: {error}")
            return
        self._over()

    def _over(self) -> None:
        assert self._shown is not None
        self._done.add(self._shown.id)
        self._shown = None

    def _line(self, prompt: str) -> str:
        """A line that the person types, seen."""
        click.echo(prompt, nl=False)
        sys.stdout.flush()
        self._set(by_lines)
        try:
            return os.read(self._fd, _MAX_LINE_BYTES).decode("utf-8", "replace").rstrip("\n")
        finally:
            self._set(by_keys)

    def _set(self, manner: Callable[[list[Any]], list[Any]], *, forget: bool = False) -> None:
        """Set the terminal as we know it, perhaps without what was typed before."""
        when = termios.TCSAFLUSH if forget else termios.TCSADRAIN
        termios.tcsetattr(self._fd, when, manner(termios.tcgetattr(self._fd)))
