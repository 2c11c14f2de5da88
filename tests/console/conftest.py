"""The console over real sockets: in a thread of the test with a fake daemon, or as a command."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from notifyd.console.api import WebContext
from notifyd.console.app import make_app
from notifyd.console.hub import Hub
from notifyd.console.listening import ListenAddress, listening
from notifyd.console.server import serve_http
from notifyd.console.sessions import Login, Sessions
from notifyd.console.stream import Streams
from notifyd.daemon.loopback import LOOPBACK_NAMES

sys.path.insert(0, str(Path(__file__).parent))

from faking import FakeDaemon

PATIENCE = 20.0  # seconds; what a test waits at most


class Console:
    """A console in a thread.

    Attributes:
        now: of the clock of its sessions; a test may set it.
    """

    def __init__(self, port: int, daemon: FakeDaemon) -> None:
        self.now = 1000.0
        self.port = port
        self.daemon = daemon
        self.sessions = Sessions(lambda: self.now)
        self.host = f"127.0.0.1:{port}"
        self.origin = f"http://{self.host}"

    def login(self, uid: int = 0, name: str = "root") -> Login:
        """A session without the browser's part."""
        return self.sessions.redeem(self.sessions.mint(uid, name), "a test")

    def headers(self, login: Login | None) -> dict[str, str]:
        """What the page sends."""
        own = {"origin": self.origin, "content-type": "application/json"}
        if login is None:
            return own
        return {**own, "cookie": f"nd{self.port}={login.cookie}", "x-notifyd-page": login.page}

    def connect(self) -> http.client.HTTPConnection:
        """A connection; the caller closes it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        login: Login | None = None,
        **changed: str | None,
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, body and headers; `changed` headers have `_` for `-`, None for none."""
        headers = self.headers(login)
        for name, value in changed.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        connection = self.connect()
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.headers.get("content-type", "")
            return answer.status, json.loads(text) if "json" in kind else text, answer.headers
        finally:
            connection.close()


Start = Callable[..., Console]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon that is none."""
    with FakeDaemon(tmp_path / "control.sock") as fake:
        yield fake


@pytest.fixture
def start(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> Iterator[Start]:
    """Start a console: `start(head=0.5)`, with limits of `serve_http`; ended after the test.

    What it logs as an error of its own fails the test.
    """
    with ExitStack() as stack:

        def starter(**limits: float) -> Console:
            server = stack.enter_context(listening(ListenAddress.parse("127.0.0.1:0")))
            console = Console(server.getsockname()[1], daemon)
            hub = Hub(str(daemon.path))
            desk = WebContext(
                hub, console.sessions, Streams(hub, console.sessions), f"nd{console.port}"
            )
            app = make_app(desk, LOOPBACK_NAMES)
            begun, scope = threading.Event(), trio.CancelScope()

            async def live() -> None:
                nonlocal token
                token = trio.lowlevel.current_trio_token()
                with scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(hub.run)
                        nursery.start_soon(partial(serve_http, server, app, **limits))
                        begun.set()

            token: Any = None
            thread = threading.Thread(target=trio.run, args=(live,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(lambda: token.run_sync_soon(scope.cancel))
            assert begun.wait(PATIENCE)
            return console

        yield starter
    assert [one for one in caplog.records if one.levelname in ("ERROR", "CRITICAL")] == []


@pytest.fixture
def console(start: Start) -> Console:
    """A console with its ordinary limits."""
    return start()
