"""The application: the page's files, what it asks for, and the guard before both."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from notifyd.console.api import WebContext, routes
from notifyd.console.guard import Guard

__all__ = ["make_app"]

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def make_app(context: WebContext, names: Collection[str]) -> ASGIApp:
    """The application (ASGI).

    Args:
        context: what requests are served with.
        names: the host names that are ours.
    """
    found = [*routes(context), *_static()]
    return Guard(Starlette(routes=found), names)


def _static() -> list[Route]:
    """A route for each file of the package: there is no path that a request could choose."""
    found = []
    for file in files("notifyd.console").joinpath("static").iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found.append(_file(path, file.read_bytes(), f"{kind}; charset=utf-8"))
    return found


def _file(path: str, data: bytes, kind: str) -> Route:
    async def serve(_request: Request) -> Response:
        return Response(data, headers={"content-type": kind})

    return Route(path, serve)
