"""What the daemon tells, taken once and handed to every page that is open.

Owns the console's connections to the daemon that stay. There are none while nobody looks, and one
of each kind however many do. A daemon that is not there is asked again, and pages are told.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio

from notifyd.console.client import control_at
from notifyd.console.samples import Samples
from notifyd.daemon import protocol
from notifyd.daemon.approval_messages import QuestionsRequest, QuestionView
from notifyd.errors import PeerError, UsageError
from notifyd.events.event import sentence
from notifyd.events.followers import EventFilter, Follower

__all__ = ["Hub", "PageView"]

RECONNECT_INTERVAL_S = 1.0  # seconds until a daemon that was not there is asked again
HUB_POLL_INTERVAL_S = 2.0  # seconds between two looks at counts and workloads
MAX_PAGE_BACKLOG_BYTES = 1 << 17  # bytes of events that wait for one page
MAX_EVENT_BYTES = 1 << 14  # bytes of an event; longer ones are left out, and counted


MAX_SHOWN_WORKLOADS = 500  # shown


class DaemonState(msgspec.Struct, frozen=True):
    """How the daemon is.

    Attributes:
        workloads: who is supervised, at most `MAX_SHOWN_WORKLOADS`.
    """

    status: protocol.DaemonStatus
    workloads: list[protocol.WorkloadView]


class PageView:
    """One page that is open.

    Attributes:
        follower: the events for it.
        seen: the versions of the hub's parts that it was shown, by name.
    """

    def __init__(self, wanted: EventFilter) -> None:
        self.follower = Follower(wanted, lambda: None, MAX_PAGE_BACKLOG_BYTES)
        self.seen: dict[str, int] = {}


class Hub:
    """The daemon, as pages see it.

    Args:
        path: of the control socket.

    Attributes:
        questions: those that wait; None as long as that is not known.
        state: likewise.
        trouble: why nothing is known; "" if all is well.
        versions: rise with each change of `questions`, `state` and `trouble`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.questions: list[QuestionView] | None = None
        self.state: DaemonState | None = None
        self.trouble = ""
        self._troubles: dict[str, str] = {}
        self.samples = Samples()
        self.versions = {"questions": 0, "state": 0, "trouble": 0}
        self._looks: list[PageView] = []
        self._changed = trio.Event()
        self._looked = trio.Event()

    @contextmanager
    def look(self, wanted: EventFilter) -> Iterator[PageView]:
        """Be told of what happens, for as long as this is held."""
        look = PageView(wanted)
        self._looks.append(look)
        self._look_changed()
        try:
            yield look
        finally:
            self._looks.remove(look)
            self._look_changed()

    async def wait(self, seconds: float) -> None:
        """Wait until a question came or went, or so many seconds have passed."""
        with trio.move_on_after(seconds):
            await self._changed.wait()

    async def ask(self, request: protocol.ControlRequest) -> Any:
        """Ask the daemon something, on a connection of its own.

        Raises:
            UsageError: no result; with the daemon's words.
        """
        async with control_at(self.path) as control:
            return await control.ask(request)

    async def run(self) -> None:
        """Keep up with the daemon for ever, while somebody looks."""
        while True:
            while not self._looks:
                await self._looked.wait()
            async with trio.open_nursery() as nursery:
                for follow in (self._follow_questions, self._follow_events, self._follow_state):
                    nursery.start_soon(self._again_and_again, follow)
                while self._looks:
                    await self._looked.wait()
                nursery.cancel_scope.cancel()
            self.questions = self.state = None
            self.samples.forget()

    def _look_changed(self) -> None:
        looked, self._looked = self._looked, trio.Event()
        looked.set()

    def _change(self, part: str) -> None:
        self.versions[part] += 1
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _again_and_again(self, follow: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await follow()
            except (UsageError, PeerError) as error:
                self._say(follow.__name__, str(error))
            await trio.sleep(RECONNECT_INTERVAL_S)

    def _say(self, follows: str, trouble: str) -> None:
        """Something could not be followed, or can again (""). One such text is shown at a time."""
        self._troubles[follows] = trouble
        shown = next(filter(None, self._troubles.values()), "")
        if shown != self.trouble:
            self.trouble = shown
            self._change("trouble")

    async def _follow_questions(self) -> None:
        async with control_at(self.path) as control:
            found = await control.ask(QuestionsRequest())
            while True:
                self.questions = found
                self._say("_follow_questions", "")
                self._change("questions")
                found = protocol.parse_reply(await control.line(), "questions")

    async def _follow_events(self) -> None:
        async with control_at(self.path) as control:
            await control.ask(protocol.EventsRequest())
            self._say("_follow_events", "")
            while True:
                self._offer(await control.line())

    def _offer(self, line: bytes) -> None:
        if len(line) > MAX_EVENT_BYTES:
            line = msgspec.json.encode({"event": "audit.lost", "lines": 1, "error": "E2BIG"})
        try:
            values = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerError(f"not an event: {error}") from error
        name = str(values.get("event"))
        if name != "call":  # those have columns; all others are told in the catalogue's words
            line = msgspec.json.encode({**values, "says": sentence(name, values)})
        for look in self._looks:
            look.follower.event(name, values, line + b"\n")

    async def _follow_state(self) -> None:
        async with control_at(self.path) as control:
            while True:
                status = await control.ask(protocol.StatusRequest())
                workloads = await control.ask(protocol.WorkloadsRequest())
                metrics = await control.ask(protocol.MetricsRequest())
                self.samples.add(metrics.text, time.time())
                self.state = DaemonState(status, workloads[:MAX_SHOWN_WORKLOADS])
                self.versions["state"] += 1  # nobody is woken for it
                self._say("_follow_state", "")
                await trio.sleep(HUB_POLL_INTERVAL_S)
