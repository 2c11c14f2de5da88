"""Server-sent events: one stream a page, with all that the page keeps up to date.

Each message has a name and one line of JSON. Streams are few, and end with their session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from notifyd.console.hub import Hub, PageView
from notifyd.console.sessions import Sessions, WebSession
from notifyd.errors import UsageError
from notifyd.events.followers import EventFilter

__all__ = ["Streams", "TooManyStreams"]

MAX_STREAMS = 64  # pages that are open at the same time
MAX_STREAMS_PER_SESSION = 8
EVENT_POLL_INTERVAL_S = 0.5  # seconds between two looks at the events
# looks without a word, until something is said so that a dead peer is found out
KEEPALIVE_POLLS = 20
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]
_ALIVE = b": still here\n\n"


class TooManyStreams(UsageError):
    """There are as many pages open as can be."""


class Streams:
    """The streams that are open.

    Args:
        hub: what is streamed.
        sessions: whose streams end with them.
    """

    def __init__(self, hub: Hub, sessions: Sessions) -> None:
        self._hub = hub
        self._sessions = sessions
        self._present: Counter[str] = Counter()

    def response(self, session: WebSession, wanted: EventFilter) -> ASGIApp:
        """The answer that goes on until the page is closed, or its session ends.

        Raises:
            TooManyStreams: close a page first.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
            with self._place(session), self._hub.look(wanted) as look:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_if_left, receive, nursery.cancel_scope)
                    await self._speak(session, look, send)
                    nursery.cancel_scope.cancel()
            # Not in the nursery: the last piece brings a disconnect, and would cut itself short.
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        full = self._present.total() >= MAX_STREAMS
        if full or self._present[session.id] >= MAX_STREAMS_PER_SESSION:
            raise TooManyStreams("too many pages are open: close one of them first")
        return answer

    @contextmanager
    def _place(self, session: WebSession) -> Iterator[None]:
        self._present[session.id] += 1
        try:
            yield
        finally:
            self._present[session.id] -= 1

    async def _speak(self, session: WebSession, look: PageView, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _say(send, _message("samples", list(self._hub.samples.kept)))
        quiet = 0
        while self._sessions.holds(session):
            pieces = b"".join(self._news(look))
            quiet = 0 if pieces or quiet == KEEPALIVE_POLLS else quiet + 1
            if pieces or not quiet:
                await _say(send, pieces or _ALIVE)
            await self._hub.wait(EVENT_POLL_INTERVAL_S)
        await _say(send, _message("ended", {}))

    def _news(self, look: PageView) -> Iterator[bytes]:
        hub = self._hub
        for part, version in hub.versions.items():
            value = getattr(hub, part)
            if look.seen.get(part) == version or value is None:
                continue
            look.seen[part] = version
            yield _message(part, value)
            if part == "state" and hub.samples.kept:
                yield _message("sample", hub.samples.kept[-1])
        events = look.follower.take()
        if events:
            lines = [msgspec.Raw(line) for line in events.splitlines()]
            yield _message("events", lines)


async def _cancel_if_left(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _say(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


def _message(name: str, value: Any) -> bytes:
    # JSON has no newline of its own, so that one line of `data` is enough.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))
