"""Asking at the terminal of `notifyd run`: one question after the other, on /dev/tty.

The command may have standard input and output elsewhere; they are never touched. It has a terminal
of its own, and does not reach this one. Where notifyd is in the background of its terminal, the
question waits until it is in front. A program that paints the screen finds it as it was.
"""

from __future__ import annotations

import getpass
import os
import re
import termios
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import trio

from notifyd.approvals.question import Answer, Person, Question, Scope
from notifyd.cli.terminal_modes import by_lines
from notifyd.errors import UsageError
from notifyd.events.sanitize import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from notifyd.approvals.queue import ApprovalQueue
    from notifyd.launch.relay import Relay

__all__ = ["Terminal", "parse_answer"]

MAX_PATH_CHARS = 4096  # characters of a program's path: it is never shown by its last part alone
_FOREGROUND_POLL_INTERVAL_S = 0.3  # seconds between two looks at whether we are in front
# seconds from an answer to the next question, for what was allowed to be seen
QUESTION_PAUSE_S = 0.7
# seconds for keys, and for what a terminal was asked, to arrive and be thrown away
FLUSH_DELAY_S = 0.3
_MAX_LINE_BYTES = 4096  # bytes of a line
_MINUTES = re.compile(r"(no|n)?\s*(\d{1,6})\s*m(in(utes?)?)?")
_WORDS: Mapping[str, tuple[bool, Scope]] = MappingProxyType(
    {
        "y": (True, Scope.ONCE),
        "yes": (True, Scope.ONCE),
        "n": (False, Scope.ONCE),
        "no": (False, Scope.ONCE),
        "p": (True, Scope.PROCESS),
        "process": (True, Scope.PROCESS),
        "r": (True, Scope.WORKLOAD),
        "run": (True, Scope.WORKLOAD),
        "always": (True, Scope.ALWAYS),
        "never": (False, Scope.ALWAYS),
    }
)
_HELP = """\
  y, yes      this time
  n, no       not this time
  p, process  as long as this process lives
  r, run      as long as this run lasts
  10m         for ten minutes; `no 10m` refuses for so long
  always      from now on, for this program and user, until it is revoked
  never       refuse from now on, likewise"""


class Terminal:
    """The controlling terminal. A context manager that closes it.

    Args:
        relay: what shows the command there.

    Raises:
        OSError: there is none.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._paints = False
        self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        self._interrupted = trio.Event()
        self._person = Person(getpass.getuser(), os.getuid(), "terminal", os.ttyname(self._fd))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def interrupt(self) -> None:
        """Ctrl-C was pressed: no, to the question that is on the screen."""
        self._interrupted.set()

    async def attend(self, queue: ApprovalQueue) -> None:
        """Show the questions of a queue, and take the answers, until cancelled."""
        while True:
            version = queue.version
            if queue.pending:
                await self._one(queue, queue.pending[0])
                await trio.sleep(QUESTION_PAUSE_S)
            else:
                await queue.wait_change(version)

    async def _one(self, queue: ApprovalQueue, question: Question) -> None:
        """Ask one question, for as long as it waits."""

        async def until_it_ended() -> None:
            version = queue.version
            while question in queue.pending:
                version = await queue.wait_change(version)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_it_ended)
            answer = await self._answer(question)
            with trio.CancelScope(shield=True):
                try:
                    await queue.answer(question.id, answer)
                except UsageError as error:
                    await self._say(f"notifyd: {error}\n")
            nursery.cancel_scope.cancel()
            return
        if not self._paints:
            await self._say("notifyd: nobody waits for that any more\n")

    async def _answer(self, question: Question) -> Answer:
        await self._in_front()
        async with self._relay.aside() as self._paints:
            with self._lines():
                await self._say(_shown(question))
                # Invariant: what was typed, or came from elsewhere, before a question could be read
                # is no answer. Also what the terminal was made to say: programs can ask it things.
                await trio.sleep(FLUSH_DELAY_S)
                termios.tcflush(self._fd, termios.TCIFLUSH)
                return await self._said(question)

    async def _said(self, question: Question) -> Answer:
        while True:
            await self._say(f"notifyd: allow it? {_choices(question.scopes)} ")
            text = (await self._line_or_end()).strip().lower()
            answer = parse_answer(text, question.scopes)
            if answer is not None:
                return Answer(answer.granted, self._person, answer.scope, answer.minutes)
            await self._say(_help(question.scopes))

    async def _in_front(self) -> None:
        """Wait until a line that is typed is for us: reading in the background would stop us."""
        while os.tcgetpgrp(self._fd) != os.getpgrp():
            await trio.sleep(_FOREGROUND_POLL_INTERVAL_S)

    @contextmanager
    def _lines(self) -> Iterator[None]:
        """Read by lines that are shown, however the terminal was set."""
        before = termios.tcgetattr(self._fd)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, by_lines(before))
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    async def _line_or_end(self) -> str:
        """A line that was typed. If nobody waits for it, what follows has a line of its own."""
        try:
            return await self._line()
        except trio.Cancelled:
            with suppress(BlockingIOError):
                os.write(self._fd, b"\r\n")
            raise

    async def _line(self) -> str:
        """A line that was typed; "no" for Ctrl-D, and for Ctrl-C.

        The kernel sends Ctrl-C to the command as well; but a call that a person was asked about is
        ended by nothing but what kills.
        """
        self._interrupted = trio.Event()
        while True:
            await self._readable()
            if self._interrupted.is_set():
                return "no"
            try:
                data = os.read(self._fd, _MAX_LINE_BYTES)
            except BlockingIOError:
                continue
            return data.decode("utf-8", "replace") if data else "no"

    async def _readable(self) -> None:
        """Wait until there is a line, or an interruption."""

        async def wait() -> None:
            await self._interrupted.wait()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.lowlevel.wait_readable(self._fd)
            nursery.cancel_scope.cancel()

    async def _say(self, text: str) -> None:
        # Outside of a question the terminal may be raw; one return more does no harm.
        data = memoryview(text.replace("\n", "\r\n").encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)


@dataclass(frozen=True, slots=True)
class TypedAnswer:
    """What a line means."""

    granted: bool
    scope: Scope
    minutes: float = 0.0


def parse_answer(text: str, scopes: tuple[Scope, ...]) -> TypedAnswer | None:
    """What a line means; None if that is nothing, or nothing that is offered."""
    minutes = _MINUTES.fullmatch(text)
    if minutes is not None:
        said = TypedAnswer(not minutes[1], Scope.MINUTES, float(minutes[2]))
    elif text in _WORDS:
        said = TypedAnswer(*_WORDS[text])
    else:
        return None
    return said if said.scope in scopes else None


def _shown(question: Question) -> str:
    subject = question.subject
    program = printable(subject.exe, MAX_PATH_CHARS) or "?"
    if question.caller:
        program += f" [{question.caller}]"
    who = f"{program} (pid {question.pid}, uid {subject.uid})"
    lines = [f"notifyd: {question.text}", f"notifyd:   {who}, by {subject.rule}"]
    return "\n" + "\n".join(lines) + "\n"


def _choices(scopes: tuple[Scope, ...]) -> str:
    words = ["y", "n"]
    words += ["process"] if Scope.PROCESS in scopes else []
    words += ["run"] if Scope.WORKLOAD in scopes else []
    words += ["10m"] if Scope.MINUTES in scopes else []
    words += ["always", "never"] if Scope.ALWAYS in scopes else []
    return f"[{'/'.join(words)}, ? for help]"


def _help(scopes: tuple[Scope, ...]) -> str:
    known = {"p, process": Scope.PROCESS, "r, run": Scope.WORKLOAD, "10m": Scope.MINUTES}
    known |= {"always": Scope.ALWAYS, "never": Scope.ALWAYS}
    lines = [
        line
        for line in _HELP.splitlines()
        if known.get(line.strip().split("  ")[0], Scope.ONCE) in scopes
    ]
    return "\n".join(lines) + "\n"
