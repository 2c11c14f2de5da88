"""What the page asks for, as JSON. Each handler needs a session, but the one that makes it.

To add one: a function here and its line in `ROUTES`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from notifyd.console.bodies import (
    AnswerBody,
    EmptyBody,
    EndBody,
    HttpError,
    LoginBody,
    RevokeBody,
    read_body,
)
from notifyd.console.client import control_at
from notifyd.console.hub import Hub
from notifyd.console.sessions import (
    SESSION_IDLE_TIMEOUT_S,
    SESSION_LIFETIME_S,
    LoginRefused,
    Sessions,
    TooManyLogins,
    WebSession,
)
from notifyd.console.stream import Streams, TooManyStreams
from notifyd.daemon.approval_messages import (
    ActingFor,
    ApproveRequest,
    DenyRequest,
    GrantsRequest,
    HistoryRequest,
    RevokeRequest,
)
from notifyd.errors import UsageError
from notifyd.events.followers import EventFilter
from notifyd.events.sanitize import cut

__all__ = ["WebContext", "routes"]

MAX_BROWSER_BYTES = 200  # bytes of what a browser says of itself
PAGE_HEADER = "x-notifyd-page"  # the header with the page's secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WebContext:
    """What requests are served with.

    Attributes:
        cookie: the name of the cookie.
    """

    hub: Hub
    sessions: Sessions
    streams: Streams
    cookie: str


# -- who asks


async def _login(context: WebContext, request: Request) -> Response:
    body = await read_body(request, LoginBody)
    browser = cut(request.headers.get("user-agent", ""), MAX_BROWSER_BYTES)
    try:
        login = context.sessions.redeem(body.token, browser)
    except TooManyLogins as error:
        raise HttpError(429, str(error)) from error
    except LoginRefused as error:
        raise HttpError(403, str(error)) from error
    response = _json({"page": login.page})
    response.set_cookie(
        context.cookie,
        login.cookie,
        path="/",
        secure=request.headers["origin"].startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    return response


async def _logout(context: WebContext, request: Request, session: WebSession) -> Response:
    await read_body(request, EmptyBody)
    context.sessions.end(session.id)
    response = _json({})
    response.delete_cookie(context.cookie, path="/", httponly=True, samesite="strict")
    return response


async def _stay(_desk: WebContext, request: Request, _session: WebSession) -> Response:
    await read_body(request, EmptyBody)
    return _json({})


async def _me(context: WebContext, _request: Request, session: WebSession) -> Response:
    fields = ("id", "uid", "name", "browser", "since")
    ours = [one for one in context.sessions.present if session.uid in (0, one.uid)]
    sessions = [{name: getattr(one, name) for name in fields} for one in ours]
    return _json(
        {
            "id": session.id,
            "name": session.name,
            "idle": SESSION_IDLE_TIMEOUT_S,
            "lasts": SESSION_LIFETIME_S,
            "sessions": sessions,
        }
    )


async def _end(context: WebContext, request: Request, session: WebSession) -> Response:
    body = await read_body(request, EndBody)
    ours = [one.id for one in context.sessions.present if session.uid in (0, one.uid)]
    if body.id not in ours:
        raise HttpError(404, "there is no such session of yours any more")
    context.sessions.end(body.id)
    return _json({})


# -- what they want to know


async def _stream(context: WebContext, request: Request, session: WebSession) -> Any:
    given = {name: request.query_params.get(name, "") for name in ("workload", "operation")}
    verdict, event = request.query_params.get("verdict", ""), request.query_params.get("event", "")
    wanted = EventFilter(**given, verdict=verdict, event=event)
    if any(len(one) > 256 for one in (*given.values(), verdict, event)):
        raise HttpError(400, "a filter of more than 256 characters")
    try:
        return context.streams.response(session, wanted)
    except TooManyStreams as error:
        raise HttpError(503, str(error)) from error


async def _grants(context: WebContext, _request: Request, _session: WebSession) -> Response:
    return _json(await _asked(context.hub.ask(GrantsRequest())))


async def _history(context: WebContext, _request: Request, _session: WebSession) -> Response:
    return _json(await _asked(context.hub.ask(HistoryRequest(limit=200))))


# -- what they decide


async def _answer(context: WebContext, request: Request, session: WebSession) -> Response:
    body = await read_body(request, AnswerBody)
    make = ApproveRequest if body.granted else DenyRequest

    def fill(who: ActingFor | None) -> Any:
        return make(
            id=body.id,
            scope=body.scope,
            minutes=body.minutes,
            reason=body.reason,
            on_behalf_of=who,
        )

    return await _decided(context, request, session, fill)


async def _revoke(context: WebContext, request: Request, session: WebSession) -> Response:
    body = await read_body(request, RevokeBody)
    return await _decided(
        context, request, session, lambda who: RevokeRequest(id=body.id, on_behalf_of=who)
    )


async def _decided(
    context: WebContext,
    request: Request,
    session: WebSession,
    fill: Callable[[ActingFor | None], Any],
) -> Response:
    """Tell the daemon what a person wants, and who that is. Whether they may is its to say."""

    async def tell() -> Any:
        async with control_at(context.hub.path) as control:
            place = request.client.host if request.client else ""
            who = ActingFor(session.name[:100], "console", place[:200], session.uid)
            # Whom the daemon does not believe is taken for who they are: ourselves.
            own = session.uid == os.geteuid() and not control.believes
            return await control.ask(fill(None if own else who))

    return _json(await _asked(tell()))


async def _asked(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except UsageError as error:
        raise HttpError(409, str(error)) from error


# -- the rest

Handler = Callable[[WebContext, Request, WebSession], Awaitable[Any]]

# Path, method, handler, and whether a person did something: only that keeps a session from idling.
ROUTES: tuple[tuple[str, str, Handler, bool], ...] = (
    ("/api/me", "GET", _me, False),
    ("/api/stream", "GET", _stream, False),
    ("/api/grants", "GET", _grants, False),
    ("/api/history", "GET", _history, False),
    ("/api/answer", "POST", _answer, True),
    ("/api/revoke", "POST", _revoke, True),
    ("/api/stay", "POST", _stay, True),
    ("/api/sessions/end", "POST", _end, True),
    ("/api/logout", "POST", _logout, False),
)


def routes(context: WebContext) -> list[Route]:
    """All of them, for Starlette."""

    async def login(request: Request) -> Any:
        return await _answered(_login(context, request))

    found = [Route("/api/login", login, methods=["POST"])]
    for path, method, handler, deed in ROUTES:
        found.append(Route(path, _with_session(context, handler, deed=deed), methods=[method]))
    return found


def _with_session(context: WebContext, handler: Handler, *, deed: bool) -> Callable[[Request], Any]:
    async def serve(request: Request) -> Any:
        # Invariant: whoever is not logged in gets nothing but the page itself.
        cookie, page = request.cookies.get(context.cookie, ""), request.headers.get(PAGE_HEADER, "")
        session = context.sessions.find(cookie, page)
        if session is None:
            return _json({"error": "not logged in: run `notifyd ctl console`"}, 401)
        if deed:
            context.sessions.touch(session)
        return await _answered(handler(context, request, session))

    return serve


async def _answered(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except HttpError as refused:
        # A body that was not read to its end cannot be told from the next request.
        headers = {"connection": "close"} if refused.status in (408, 413) else {}
        return _json({"error": refused.text}, refused.status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    data = msgspec.json.encode(value)
    return Response(data, status, headers=headers, media_type="application/json")
