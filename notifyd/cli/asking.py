"""Asking at the terminal of `notifyd run`: one question after the other, on /dev/tty.

The command may have standard input and output elsewhere; they are never touched. It has a terminal
of its own, and does not reach this one. Where notifyd is in the background of its terminal, the
question waits until it is in front. A program that paints the screen finds it as it was.
"""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from notifyd.approvals.question import Answer, Person, Question, user_name
from notifyd.cli.answers import FLUSH_DELAY_S, QUESTION_PAUSE_S, Choices, TypedAnswer
from notifyd.cli.terminal_modes import lines, read_line
from notifyd.errors import UsageError
from notifyd.events.sanitize import printable
from notifyd.launch.relay import FOREGROUND_POLL_INTERVAL_S

if TYPE_CHECKING:
    from notifyd.approvals.queue import ApprovalQueue
    from notifyd.launch.relay import Relay

__all__ = ["Terminal"]

MAX_PATH_CHARS = 4096  # characters of a program's path: it is never shown by its last part alone


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
        self._person = Person(user_name(os.getuid()), os.getuid(), "terminal", os.ttyname(self._fd))

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
            with lines(self._fd):
                await self._say(_shown(question))
                # Invariant: what was typed, or came from elsewhere, before a question could be read
                # is no answer. Also what the terminal was made to say: programs can ask it things.
                await trio.sleep(FLUSH_DELAY_S)
                termios.tcflush(self._fd, termios.TCIFLUSH)
                return await self._said(question)

    async def _said(self, question: Question) -> Answer:
        choices = Choices(question.scopes)
        while True:
            await self._say(f"notifyd: {choices.prompt}")
            line = await self._line_or_end()
            try:
                said = TypedAnswer(False) if line is None else choices.parse(line)
            except UsageError as error:
                await self._say(f"{error}\n")
                continue
            assert isinstance(said, TypedAnswer)
            return Answer(said.granted, self._person, said.scope, said.minutes, said.reason)

    async def _in_front(self) -> None:
        """Wait until a line that is typed is for us: reading in the background would stop us."""
        while os.tcgetpgrp(self._fd) != os.getpgrp():
            await trio.sleep(FOREGROUND_POLL_INTERVAL_S)

    async def _line_or_end(self) -> str | None:
        """A line that was typed. If nobody waits for it, what follows has a line of its own."""
        try:
            return await self._line()
        except trio.Cancelled:
            with suppress(BlockingIOError):
                os.write(self._fd, b"\r\n")
            raise

    async def _line(self) -> str | None:
        """A line that was typed; None for Ctrl-D, and for Ctrl-C.

        The kernel sends Ctrl-C to the command as well; but a call that a person was asked about is
        ended by nothing but what kills.
        """
        self._interrupted = trio.Event()
        while True:
            await self._readable()
            if self._interrupted.is_set():
                return None
            with suppress(BlockingIOError):
                return read_line(self._fd)

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


def _shown(question: Question) -> str:
    subject = question.subject
    program = printable(subject.exe, MAX_PATH_CHARS) or "?"
    if question.caller:
        program += f" [{question.caller}]"
    who = f"{program} (pid {question.pid}, uid {subject.uid})"
    lines = [f"notifyd: {question.text}", f"notifyd:   {who}, by {subject.rule}"]
    return "\n" + "\n".join(lines) + "\n"
