"""HTTP/1.1 spoken by hand: framing, pipelining, half-closed connections, and what is none of it."""

import contextlib
import re
import socket
import time

import pytest
from test_bounds import head, raw, rest, until

from notifyd.console import http1


def statuses(answers: bytes) -> list[bytes]:
    """The statuses of what a connection said."""
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)


def test_pipelined_requests(console):
    """Requests that come at once are answered in their order, each by itself."""
    login = console.login()
    me = head(console, login, "GET", "/api/me")
    nothing = head(console, login, "GET", "/nothing")
    last = head(console, login, "GET", "/api/me", "connection: close")
    with raw(console, me + nothing + last) as one:
        assert statuses(rest(one)) == [b"200", b"404", b"200"]


def test_a_body_is_no_request(console):
    """What an answer did not read of a body is never taken for the next request."""
    hidden = head(console, console.login(), "GET", "/api/me")
    length = f"content-length: {len(hidden)}"
    for path in ("/api/answer", "/nothing"):
        with raw(console, head(console, None, "POST", path, length) + hidden) as one:
            one.shutdown(socket.SHUT_WR)
            assert len(statuses(rest(one))) == 1
    with raw(console, head(console, None, "POST", "/nothing", length)) as one:
        assert one.recv(12) == b"HTTP/1.1 404"
        with contextlib.suppress(ConnectionError):
            one.sendall(hidden)
        assert b"HTTP/1.1 200" not in rest(one)


def test_requests_ahead_of_a_stream(console):
    """A peer that sends on while it is being told things is cut off, before that is much."""
    request = head(console, console.login(), "GET", "/api/stream")
    with raw(console, request) as one:
        one.recv(12)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                one.sendall(request * 64)
        rest(one)  # it ends
    assert console.ask("GET", "/api/me", login=console.login())[0] == 200


def test_a_stream_ends_with_half_a_connection(console, daemon):
    """A peer that says it sends no more has left; nobody follows the daemon for it."""
    with raw(console, head(console, console.login(), "GET", "/api/stream")) as one:
        one.recv(12)
        one.shutdown(socket.SHUT_WR)
        rest(one)
    until(lambda: daemon.tell(b'{"event":"x"}') or daemon.ask() or not daemon.connections)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\0\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\tfolded\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", b"501"),
        (b"GET / HTTP/3.7\r\nhost: a\r\n\r\n", b"505"),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"403"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_bad_framing(console, said, status):
    """It is refused by a status, and the connection ends."""
    with raw(console, said) as one:
        one.shutdown(socket.SHUT_WR)
        assert statuses(rest(one)) == [status]


def test_a_chunked_body(console):
    """It is as good as one with a length; one whose chunks are wrong is none."""
    login = console.login()
    chunked = head(console, login, "POST", "/api/stay", "transfer-encoding: chunked")
    with raw(console, chunked + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n") as one:
        assert one.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 204")
    with raw(console, chunked + b"zz\r\n") as one:
        assert statuses(rest(one)) == [b"400"]
    with raw(console, chunked) as one:
        with contextlib.suppress(ConnectionError):
            one.sendall(b"1;" + b"x" * (1 << 20))
        assert statuses(rest(one)) in ([b"400"], [])


def test_a_peer_that_waits_for_leave_to_send(console):
    """`Expect: 100-continue` is told to go on when the body is wanted, and only then."""
    login = console.login()
    expects = ("content-length: 2", "expect: 100-continue")
    with raw(console, head(console, login, "POST", "/api/stay", *expects)) as one:
        assert one.recv(12) == b"HTTP/1.1 100"
        one.sendall(b"{}")
        one.shutdown(socket.SHUT_WR)
        assert len(statuses(rest(one))) == 1
    with raw(console, head(console, login, "POST", "/nothing", *expects)) as one:
        assert statuses(rest(one)) == [b"404"]


def test_the_old_protocol(console):
    """HTTP/1.0 has one answer, without chunks, and a head alone has no body."""
    old = f"GET / HTTP/1.0\r\nhost: {console.host}\r\n\r\n".encode()
    with raw(console, old) as one:
        answer = rest(one)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in answer.lower()
    with raw(console, head(console, None, "HEAD", "/", "connection: close")) as one:
        assert rest(one).endswith(b"\r\n\r\n")


def test_a_peer_that_stays_after_its_answer(console):
    """An answer was the last: the connection ends soon, whatever the peer still sends."""
    with raw(console, head(console, None, "GET", "/", "connection: close")) as one:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < http1.LINGER + 10:
                one.sendall(b"x")
                time.sleep(0.05)
            raise AssertionError("it is read for ever")


def test_peers_that_stay_keep_nobody_out(start):
    """Those that have had their last answer, and do not close, make room for others at once."""
    console = start(most=4)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            one = stack.enter_context(
                raw(console, head(console, None, "GET", "/", "connection: close"))
            )
            assert rest(one).startswith(b"HTTP/1.1 200")
