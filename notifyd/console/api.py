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
    EndBody,
    LoginBody,
    NoBody,
    Refused,
    RevokeBody,
    read_body,
)
from notifyd.console.client import control_at
from notifyd.console.hub import Hub
from notifyd.console.sessions import IDLE, LASTS, LoginRefused, Session, Sessions, TooManyLogins
from notifyd.console.stream import Streams, TooManyStreams
from notifyd.daemon.approval_messages import (
    ApproveRequest,
    DenyRequest,
    GrantsRequest,
    HistoryRequest,
    OnBehalf,
    RevokeRequest,
)
from notifyd.errors import UsageError
from notifyd.events.followers import Wanted
from notifyd.events.harmless import cut

__all__ = ["Desk", "routes"]

MOST_BROWSER = 200  # bytes of what a browser says of itself
PAGE = "x-notifyd-page"  # the header with the page's secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """What requests are served with.

    Attributes:
        cookie: the name of the cookie.
    """

    hub: Hub
    sessions: Sessions
    streams: Streams
    cookie: str


# -- who asks


async def _login(desk: Desk, request: Request) -> Response:
    body = await read_body(request, LoginBody)
    browser = cut(request.headers.get("user-agent", ""), MOST_BROWSER)
    try:
        login = desk.sessions.redeem(body.token, browser)
    except TooManyLogins as error:
        raise Refused(429, str(error)) from error
    except LoginRefused as error:
        raise Refused(403, str(error)) from error
    response = _json({"page": login.page})
    response.set_cookie(
        desk.cookie,
        login.cookie,
        path="/",
        secure=request.headers["origin"].startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    return response


async def _logout(desk: Desk, request: Request, session: Session) -> Response:
    await read_body(request, NoBody)
    desk.sessions.end(session.id)
    response = _json({})
    response.delete_cookie(desk.cookie, path="/", httponly=True, samesite="strict")
    return response


async def _stay(_desk: Desk, request: Request, _session: Session) -> Response:
    await read_body(request, NoBody)
    return _json({})


async def _me(desk: Desk, _request: Request, session: Session) -> Response:
    fields = ("id", "uid", "name", "browser", "since")
    ours = [one for one in desk.sessions.present if session.uid in (0, one.uid)]
    sessions = [{name: getattr(one, name) for name in fields} for one in ours]
    return _json(
        {"id": session.id, "name": session.name, "idle": IDLE, "lasts": LASTS, "sessions": sessions}
    )


async def _end(desk: Desk, request: Request, session: Session) -> Response:
    body = await read_body(request, EndBody)
    ours = [one.id for one in desk.sessions.present if session.uid in (0, one.uid)]
    if body.id not in ours:
        raise Refused(404, "there is no such session of yours any more")
    desk.sessions.end(body.id)
    return _json({})


# -- what they want to know


async def _stream(desk: Desk, request: Request, session: Session) -> Any:
    given = {name: request.query_params.get(name, "") for name in ("workload", "operation")}
    verdict, event = request.query_params.get("verdict", ""), request.query_params.get("event", "")
    wanted = Wanted(**given, verdict=verdict, event=event)
    if any(len(one) > 256 for one in (*given.values(), verdict, event)):
        raise Refused(400, "a filter of more than 256 characters")
    try:
        return desk.streams.response(session, wanted)
    except TooManyStreams as error:
        raise Refused(503, str(error)) from error


async def _grants(desk: Desk, _request: Request, _session: Session) -> Response:
    return _json(await _asked(desk.hub.ask(GrantsRequest())))


async def _history(desk: Desk, _request: Request, _session: Session) -> Response:
    return _json(await _asked(desk.hub.ask(HistoryRequest(limit=200))))


# -- what they decide


async def _answer(desk: Desk, request: Request, session: Session) -> Response:
    body = await read_body(request, AnswerBody)
    make = ApproveRequest if body.granted else DenyRequest

    def fill(who: OnBehalf | None) -> Any:
        return make(
            id=body.id,
            scope=body.scope,
            minutes=body.minutes,
            reason=body.reason,
            on_behalf_of=who,
        )

    return await _decided(desk, request, session, fill)


async def _revoke(desk: Desk, request: Request, session: Session) -> Response:
    body = await read_body(request, RevokeBody)
    return await _decided(
        desk, request, session, lambda who: RevokeRequest(id=body.id, on_behalf_of=who)
    )


async def _decided(
    desk: Desk, request: Request, session: Session, fill: Callable[[OnBehalf | None], Any]
) -> Response:
    """Tell the daemon what a person wants, and who that is. Whether they may is its to say."""

    async def tell() -> Any:
        async with control_at(desk.hub.path) as control:
            place = request.client.host if request.client else ""
            who = OnBehalf(session.name[:100], "console", place[:200], session.uid)
            # Whom the daemon does not believe is taken for who they are: ourselves.
            own = session.uid == os.geteuid() and not control.believes
            return await control.ask(fill(None if own else who))

    return _json(await _asked(tell()))


async def _asked(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except UsageError as error:
        raise Refused(409, str(error)) from error


# -- the rest

Handler = Callable[[Desk, Request, Session], Awaitable[Any]]

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


def routes(desk: Desk) -> list[Route]:
    """All of them, for Starlette."""

    async def login(request: Request) -> Any:
        return await _answered(_login(desk, request))

    found = [Route("/api/login", login, methods=["POST"])]
    for path, method, handler, deed in ROUTES:
        found.append(Route(path, _with_session(desk, handler, deed=deed), methods=[method]))
    return found


def _with_session(desk: Desk, handler: Handler, *, deed: bool) -> Callable[[Request], Any]:
    async def serve(request: Request) -> Any:
        # Invariant: whoever is not logged in gets nothing but the page itself.
        cookie, page = request.cookies.get(desk.cookie, ""), request.headers.get(PAGE, "")
        session = desk.sessions.find(cookie, page)
        if session is None:
            return _json({"error": "not logged in: run `notifyd ctl console`"}, 401)
        if deed:
            desk.sessions.touch(session)
        return await _answered(handler(desk, request, session))

    return serve


async def _answered(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except Refused as refused:
        # A body that was not read to its end cannot be told from the next request.
        headers = {"connection": "close"} if refused.status in (408, 413) else {}
        return _json({"error": refused.text}, refused.status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    data = msgspec.json.encode(value)
    return Response(data, status, headers=headers, media_type="application/json")
