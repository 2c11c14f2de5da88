"""What every request has to pass before anything looks at it, and what every answer carries.

Owns the checks that need no login: the host (DNS rebinding), where a request comes from (cross-site
forgery), its kind; and the headers that tell the browser what the page may do.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notifyd.daemon.loopback import LOOPBACK_NAMES, host_of

__all__ = ["Guard", "is_host_name"]

_HEADERS = {
    # No inline script or style, no other host, no frame, no form, no text that becomes markup.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_READING = frozenset({"GET", "HEAD"})


def is_host_name(text: str) -> bool:
    """Whether it is what `Guard` takes for a name: a host in lower case, without a port."""
    return bool(text) and host_of(text) == text


class Guard:
    """Lets requests through to an application.

    Args:
        app: the application.
        names: host names that are ours, in lower case; their ports do not matter.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = LOOPBACK_NAMES) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = self._refusal(scope["method"], Headers(scope=scope))
        app = self._app
        if refused is not None:
            status, text = refused
            app = PlainTextResponse(f"{text}\n", status)
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Why a request is not let through: status and text; None if it is."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this console is not called so: use the address that it printed, or --host"
        site = headers.get("sec-fetch-site", "same-origin")
        if method in _READING:
            # Whoever types the address, or follows a link, may load the page; nobody may embed it.
            if site not in ("same-origin", "none") and headers.get("sec-fetch-mode") != "navigate":
                return 403, "a request from another site"
            return None
        # Invariant: nothing is changed for a page of another origin. Browsers send Origin with all
        # that is not GET or HEAD; whoever leaves it out is no browser, and has the command line.
        origins = headers.getlist("origin")
        own = {f"http://{hosts[0]}", f"https://{hosts[0]}"}
        if len(origins) != 1 or origins[0].lower() not in {one.lower() for one in own}:
            return 403, "a request from another origin"
        if site != "same-origin":
            return 403, "a request from another site"
        return None

    def _is_ours(self, host: str) -> bool:
        return host_of(host) in self._names
