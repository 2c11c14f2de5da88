"""What a peer may take: bytes, time, connections, streams. And what it may say."""

import contextlib
import json
import socket
import time

import pytest
from faking import question

from notifyd.console import bodies, stream
from notifyd.daemon.approval_messages import QuestionsRequest
from notifyd.daemon.protocol import EventsRequest

PATIENCE = 20.0  # seconds


def raw(console, data: bytes = b"") -> socket.socket:
    """A connection that has said something."""
    connection = socket.create_connection(("127.0.0.1", console.port), PATIENCE)
    connection.sendall(data)
    return connection


def head(console, login, method: str, path: str, *more: str) -> bytes:
    """The head of a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {console.host}"]
    lines += [f"{name}: {value}" for name, value in console.headers(login).items()]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 16):
            found += data
    return found


def until(holds) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_huge_body(console):
    """It is refused as soon as it is too long; nobody waits for its end."""
    login = console.login()
    body = json.dumps({"id": 1, "granted": True, "reason": "x" * bodies.MAX_BODY_BYTES}).encode()
    assert console.ask("POST", "/api/answer", body, login)[0] == 413
    with raw(
        console, head(console, login, "POST", "/api/answer", "content-length: 9999999999")
    ) as one:
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                one.sendall(b"x" * (1 << 16))
        assert rest(one)[:12] in (b"HTTP/1.1 413", b"")
    assert console.ask("GET", "/api/me", login=login)[0] == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"id": 1}', b'{"id":1,"granted":2}'])
def test_a_body_that_is_wrong(console, body):
    """One line says what is wrong."""
    status, answer, _ = console.ask("POST", "/api/answer", body, console.login())
    assert (status, list(answer)) == (400, ["error"])
    deep = b"[" * 10_000
    assert console.ask("POST", "/api/answer", deep, console.login())[0] == 400
    strange = b'{"id":1,"granted":true,"reason":"\xed\xa0\xbd"}'  # half a character: no UTF-8
    assert console.ask("POST", "/api/answer", strange, console.login())[0] == 400


def test_a_form_is_no_request(console):
    """What a form of another site could send has no JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        login = console.login()
        status, _, _ = console.ask("POST", "/api/stay", b"{}", login, content_type=kind)
        assert status == 415


def test_a_slow_head(start):
    """Whoever does not come to the end of a request is sent away."""
    console = start(head=1.0)
    with raw(console) as silent, raw(console, b"GET / HTTP/1.1\r\nhost: ") as slow:
        begun = time.monotonic()
        assert rest(silent) + rest(slow) == b""
        assert time.monotonic() - begun < 5
    login = console.login()
    drips = raw(console, b"GET / HTTP/1.1\r\n")
    with drips, contextlib.suppress(ConnectionError):
        for _ in range(100):
            drips.sendall(b"x: y\r\n")
            time.sleep(0.05)
        raise AssertionError("one that drips is served for ever")
    assert console.ask("GET", "/api/me", login=login)[0] == 200


def test_a_huge_head(console):
    """A head that does not end is an error before it is big."""
    with raw(console) as one:
        with contextlib.suppress(ConnectionError):
            one.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"x" * (1 << 20))
        assert rest(one)[:12] in (b"HTTP/1.1 431", b"")


def test_a_slow_body(console, monkeypatch):
    """It has its time, and no more."""
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.3)
    login = console.login()
    with raw(console, head(console, login, "POST", "/api/stay", "content-length: 5") + b"{") as one:
        assert rest(one).startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("whole")
def test_too_many_connections(start):
    """The oldest without an answer goes; those that have one stay, and alone close later ones."""
    console = start(most=8)
    login = console.login()
    ask = head(console, login, "GET", "/api/me", "connection: {}")
    with contextlib.ExitStack() as stack:

        def open_one(data=b""):
            return stack.enter_context(raw(console, data))

        served = open_one(ask.replace(b"{}", b"keep-alive"))
        assert served.recv(12) == b"HTTP/1.1 200"
        silent = [open_one() for _ in range(7)]
        late = open_one(ask.replace(b"{}", b"close"))
        assert rest(late).startswith(b"HTTP/1.1 200")
        assert rest(silent[0]) == b""
        served.sendall(ask.replace(b"{}", b"close"))
        assert b"HTTP/1.1 200" in rest(served)
        served = [open_one(ask.replace(b"{}", b"keep-alive")) for _ in range(8)]
        assert [one.recv(12) for one in served] == [b"HTTP/1.1 200"] * 8
        assert rest(open_one()) == b""
    until(lambda: _serves(console, login))


def _serves(console, login) -> bool:
    try:
        return console.ask("GET", "/api/me", login=login)[0] == 200
    except OSError:
        return False
    except Exception as error:
        return type(error).__name__ != "RemoteDisconnected"


@pytest.mark.usefixtures("whole")
def test_two_hundred_streams(start, daemon):
    """A few are served, the rest refused; the daemon sees one reader of each kind, then none."""
    console = start(most=256)
    daemon.ask(question(1))
    logins = [console.login() for _ in range(25)]
    with contextlib.ExitStack() as stack:
        told = []
        for at in range(200):
            request = head(console, logins[at % 25], "GET", "/api/stream")
            told.append(stack.enter_context(raw(console, request)).recv(12))
        assert told.count(b"HTTP/1.1 200") == stream.MAX_STREAMS
        assert told.count(b"HTTP/1.1 503") == 200 - stream.MAX_STREAMS
        until(lambda: any(isinstance(one, QuestionsRequest) for one in daemon.asked))
        assert sum(isinstance(one, QuestionsRequest) for one in daemon.asked) == 1
        assert sum(isinstance(one, EventsRequest) for one in daemon.asked) <= 1
        assert console.ask("GET", "/api/me", login=logins[0])[0] == 200
    # The fake daemon notices that a reader has left when it writes to it.
    until(lambda: daemon.tell(b'{"event":"x"}') or daemon.ask() or not daemon.connections)


def test_streams_of_one_session(console):
    """One person does not use up those of all."""
    login, other = console.login(), console.login()
    with contextlib.ExitStack() as stack:
        told = [
            stack.enter_context(raw(console, head(console, login, "GET", "/api/stream"))).recv(12)
            for _ in range(stream.MAX_STREAMS_PER_SESSION + 1)
        ]
        assert told[-2:] == [b"HTTP/1.1 200", b"HTTP/1.1 503"]
        with raw(console, head(console, other, "GET", "/api/stream")) as one:
            assert one.recv(12) == b"HTTP/1.1 200"


def test_a_stream_ends_with_its_session(start):
    """Nothing more is told to who is not logged in any more, and the connection ends."""
    console = start(head=1.0)
    login = console.login()
    with raw(console, head(console, login, "GET", "/api/stream")) as one:
        one.recv(1)
        console.sessions.end(login.session.id)
        assert b"event: ended" in rest(one)


def test_one_that_does_not_read(start, daemon):
    """Its connection is ended; another stream has all of its events in time."""
    console = start(sending=0.5)
    event = json.dumps({"event": "call", "workload": "w", "args": {"path": "x" * 8000}}).encode()
    with raw(console, head(console, console.login(), "GET", "/api/stream")) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        until(lambda: any(isinstance(one, EventsRequest) for one in daemon.asked))
        hub_full = time.monotonic() + PATIENCE
        while daemon.connections:
            assert time.monotonic() < hub_full
            daemon.tell(*[event] * 12)  # the fake notices by writing that nobody reads any more
            daemon.ask()
            time.sleep(0.05)


def test_no_other_protocol(console):
    """No WebSocket, with a login or without."""
    upgrade = (
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    with raw(console, head(console, console.login(), "GET", "/api/stream", *upgrade)) as one:
        assert one.recv(12) == b"HTTP/1.1 403"


def test_a_path_is_no_file(console):
    """Only the package's own files have addresses."""
    for path in ("/../app.py", "/..%2fapp.py", "/%2e%2e/app.py", "//etc/passwd", "/static/app.js"):
        assert console.ask("GET", path)[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert console.ask(method, "/api/me")[0] == 405


@pytest.mark.parametrize("authority", [b"evil.example", b"127.0.0.1"])
def test_http_2_is_refused(console, authority):
    """A peer that speaks it without being asked gets no page, by whatever name."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\0\0\0\4\0\0\0\0\0"
    # GET, scheme http, path / from the static table of HPACK; the authority as a literal.
    fields = b"\x82\x86\x84\x41" + bytes([len(authority)]) + authority
    headers = len(fields).to_bytes(3, "big") + b"\1\5\0\0\0\1" + fields
    with raw(console, preface + settings + headers) as one:
        said = rest(one)
    assert said.startswith(b"HTTP/1.1 505")
    assert said.index(b"\r\n\r\n") == len(said) - 4  # a head, and nothing else
