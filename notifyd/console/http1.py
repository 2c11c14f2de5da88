"""HTTP/1.1 on one connection, between h11 and an application (ASGI).

Owns what a peer may take: the bytes of a head and the time for it, the time for reading an answer,
and the bytes of requests sent ahead. Knows no other connection, and not what is served.
"""

from __future__ import annotations

import logging
from email.utils import formatdate
from urllib.parse import unquote

import h11
import trio
from starlette.types import ASGIApp, Message, Scope

__all__ = ["Http1Connection"]

MAX_HEAD_BYTES = 1 << 14  # of a head, or of a chunk's; and of what is sent ahead during an answer
LINGER = 1.0  # seconds for the peer to take the last answer and close
_CHUNK = 1 << 14
_LEFT: Message = {"type": "http.disconnect"}
_log = logging.getLogger("notifyd.console")


class Http1Connection:
    """Serves the requests of one connection, one after the other.

    Args:
        stream: the connection; it stays the caller's, and is closed where sending to it fails.
        app: what is served.
        head: seconds until the head of a request is there, and between two requests.
        sending: seconds that the peer may take to read a piece of an answer.

    Attributes:
        holds: whether it keeps its place when there are too many: it has got an answer, and not
            yet its last one.
    """

    def __init__(
        self, stream: trio.SocketStream, app: ASGIApp, *, head: float, sending: float
    ) -> None:
        self._stream = stream
        self._app = app
        self._head = head
        self._sending = sending
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._method = b""
        self._answered = False
        self.holds = False

    async def serve(self) -> None:
        """Serve until the peer leaves, is too slow, or says what cannot be understood."""
        try:
            try:
                while (request := await self._request()) is not None:
                    await self._answer(request)
                    if not self._goes_on():
                        break
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
            if self._answered:
                await self._linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it left

    async def _request(self) -> h11.Request | None:
        """The head of the next request; None if there is none in time."""
        with trio.move_on_after(self._head):
            event = await self._event()
            return event if isinstance(event, h11.Request) else None
        return None

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._stream.receive_some(_CHUNK))

    async def _answer(self, request: h11.Request) -> None:
        self._method = request.method
        if request.http_version not in (b"1.0", b"1.1"):
            await self._refuse(505)  # so begins HTTP/2 of a peer that did not ask first
            return
        if any(_is_websocket(*header) for header in request.headers):
            await self._refuse(403)
            return
        try:
            await self._app(self._scope(request), self._receive, self._respond)
        except Exception:  # one request must not end the console
            _log.exception("a request failed")
        await self._refuse(500)

    async def _refuse(self, status: int) -> None:
        """Answer by a status alone, if no answer has begun; there is no request after that."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-length", "0"), ("connection", "close")]
            answer = h11.Response(status_code=status, headers=headers)
            await self._send(answer, h11.EndOfMessage())

    def _goes_on(self) -> bool:
        """Whether another request can follow. What is left of a body is not waited for."""
        while self._http.their_state is h11.SEND_BODY:
            if self._http.next_event() is h11.NEED_DATA:
                return False
        if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def _linger(self) -> None:
        self.holds = False
        # Closing while something is unread resets the connection, and the answer may be lost.
        await self._stream.send_eof()
        with trio.move_on_after(LINGER):
            while await self._stream.receive_some(_CHUNK):
                pass

    async def _receive(self) -> Message:
        """A piece of the request's body; after its end, wait until the peer leaves (ASGI)."""
        try:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            event = await self._event()
            while event is h11.PAUSED:  # the next request is there already
                data = await self._stream.receive_some(_CHUNK)
                if not data or len(self._http.trailing_data[0]) > MAX_HEAD_BYTES:
                    return _LEFT
                self._http.receive_data(data)
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            return _LEFT
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            return {"type": "http.request", "body": b"", "more_body": False}
        return _LEFT

    async def _respond(self, message: Message) -> None:
        """Send the head or a piece of the answer (ASGI). If the peer has left, do nothing."""
        if self._http.our_state is h11.ERROR:
            return
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"date", formatdate(usegmt=True).encode())]
            await self._send(h11.Response(status_code=message["status"], headers=headers))
            return
        events: list[h11.Event] = []
        if message.get("body") and self._method != b"HEAD":
            events.append(h11.Data(data=message["body"]))
        if not message.get("more_body", False):
            events.append(h11.EndOfMessage())
        await self._send(*events)

    async def _send(self, *events: h11.Event) -> None:
        """Send all of it in time, or close the connection: half a piece has no continuation."""
        data = b"".join(self._http.send(event) or b"" for event in events)
        self._answered = self.holds = True
        sent = False
        try:
            with trio.move_on_after(self._sending):
                await self._stream.send_all(data)
                sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # `_receive` says so
        finally:
            if not sent:
                self._http.send_failed()
                await trio.aclose_forcefully(self._stream)

    def _scope(self, request: h11.Request) -> Scope:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._client(),
            "server": None,
        }

    def _client(self) -> tuple[str, int] | None:
        """Address and port of the peer; None at a unix socket, or if it has left."""
        try:
            host, port = self._stream.socket.getpeername()[:2]
        except (OSError, ValueError):
            return None
        return host, port


def _is_websocket(name: bytes, value: bytes) -> bool:
    return name == b"upgrade" and b"websocket" in value.lower()
