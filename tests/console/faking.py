"""A daemon that is none: it speaks the control protocol, says what a test wants, and remembers."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from notifyd.daemon import approval_messages as messages
from notifyd.daemon import protocol
from notifyd.errors import UsageError

METRICS = """\
# TYPE notifyd_answered_total counter
notifyd_answered_total{{operation="Open",verdict="allow",how="continued"}} {allow}
notifyd_answered_total{{operation="Open",verdict="deny",how="answered"}} {deny}
# TYPE notifyd_call_seconds histogram
notifyd_call_seconds_bucket{{operation="Open",le="0.000016384"}} {allow}
notifyd_call_seconds_bucket{{operation="Open",le="0.001048576"}} {both}
notifyd_call_seconds_bucket{{operation="Open",le="+Inf"}} {both}
notifyd_call_seconds_count{{operation="Open"}} {both}
notifyd_call_seconds_sum{{operation="Open"}} 1.0
"""
HOSTILE = "<img src=x onerror=alert(1)>\u202egpj.exe\x1b[31m\u2066<script>alert(2)</script>"


def decision(**fields: Any) -> messages.DecisionView:
    """What became of a question."""
    now = time.time()
    plain: dict[str, Any] = {
        "id": 3, "text": "may curl connect to 192.0.2.7:443?", "workload": "web-1",
        "exe": "/usr/bin/curl", "uid": 1000, "rule": "ask-connect.py:ask", "operation": "Connect",
        "state": "granted", "scope": "once", "by": "alice", "face": "ctl", "place": "pid 12",
        "reason": "the mirror", "asked": now - 7200, "ended": now - 7190, "waited_s": 10.0,
    }  # fmt: skip
    return messages.DecisionView(**{**plain, **fields})


def question(id: int, **fields: Any) -> messages.QuestionView:  # noqa: A002
    """A question that waits."""
    tree = [
        messages.ProcessView(4711, "curl", "curl -sS https://example.org/install.sh", 1000),
        messages.ProcessView(4700, "sh", "sh -c 'curl -sS https://example.org/install.sh'", 1000),
        messages.ProcessView(4600, "containerd-shim", "containerd-shim -namespace moby", 0),
        messages.ProcessView(1, "systemd", "/sbin/init", 0),
    ]
    plain: dict[str, Any] = {
        "id": id, "text": f"may curl connect to 192.0.2.{id}:443?", "workload": "web-1",
        "section": "containers", "process": "4711@99", "pid": 4711, "exe": "/usr/bin/curl",
        "uid": 1000, "operation": "Connect", "syscall": "connect",
        "args": {"address": f"192.0.2.{id}:443"}, "rule": "ask-connect.py:ask",
        "title": "New destinations are asked for.", "key": f"192.0.2.{id}:443",
        "scopes": ["once", "process", "workload", "minutes", "always"], "asked": time.time() - 42,
        "within": 300.0, "container": "3f4e9a0c11d2", "annotations": {"team": "web"}, "tree": tree,
        "history": [decision(), decision(id=2, state="refused", reason="who are you?")],
    }  # fmt: skip
    return messages.QuestionView(**{**plain, **fields})


def workload(name: str, **fields: Any) -> protocol.WorkloadView:
    """Somebody who is supervised."""
    plain: dict[str, Any] = {
        "id": name, "arrival": "oci", "section": "containers", "peer": "runc (pid 41, uid 0)",
        "pid": 4600, "since": time.time() - 8000, "listeners": 1, "calls": 120_345, "refused": 17,
        "pending": 1, "slowest_us": 1870.0,
    }  # fmt: skip
    return protocol.WorkloadView(**{**plain, **fields})


def grant(id: int, **fields: Any) -> messages.GrantView:  # noqa: A002
    """An answer that holds."""
    plain: dict[str, Any] = {
        "id": id, "granted": True, "rule": "ask-connect.py:ask", "key": "192.0.2.9:443",
        "uid": 1000, "exe": "/usr/bin/curl", "by": "alice", "face": "console",
        "place": "127.0.0.1", "reason": "the mirror", "question": 1, "made": time.time() - 90_000,
        "until": None,
    }  # fmt: skip
    return messages.GrantView(**{**plain, **fields})


class _Server(socketserver.ThreadingUnixStreamServer):
    """A thread for each connection; its end waits for all of them.

    Attributes:
        present: the connections.
    """

    daemon_threads = False

    def __init__(self, path: Path, attend: Callable[[Any], None]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                attend(self)

        self.present: set[socket.socket] = set()
        super().__init__(str(path), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.present.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.present.discard(request)
        super().shutdown_request(request)


class FakeDaemon:
    """A control socket in threads. A context manager.

    Attributes:
        asked: the requests that came, in their order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[protocol.ControlRequest] = []
        self.questions: list[messages.QuestionView] = []
        self.workloads = [workload("web-1"), workload("batch-77", pending=0, refused=0)]
        self.grants = [grant(1), grant(2, granted=False, until=time.time() + 900)]
        self.past = [decision(), decision(id=2, state="expired", by="", scope="", reason="")]
        self.refuses = ""
        self._events: list[bytes] = []
        self._changed = threading.Condition()
        self._looks = 0

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.present)

    def __enter__(self) -> FakeDaemon:
        self._closed = False
        self._server = _Server(self.path, self._attend)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()  # first: whoever came after the others were sent away would stay
        self._thread.join()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for connection in tuple(self._server.present):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def ask(self, *questions: messages.QuestionView) -> None:
        """These questions wait, and no others."""
        with self._changed:
            self.questions = list(questions)
            self._changed.notify_all()

    def tell(self, *events: bytes) -> None:
        """These events happen."""
        with self._changed:
            self._events += events
            self._changed.notify_all()

    def _attend(self, handler: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for line in handler.rfile:
                request = protocol.parse_request(line)
                told, at = self.questions, len(self._events)
                self.asked.append(request)
                handler.wfile.write(self._reply(request))
                if isinstance(request, messages.QuestionsRequest):
                    self._send(handler, self._lists(told))
                elif isinstance(request, protocol.EventsRequest):
                    self._send(handler, self._lines(at))

    @staticmethod
    def _send(handler: Any, lines: Any) -> None:
        for line in lines:
            handler.wfile.write(line)

    def _reply(self, request: protocol.ControlRequest) -> bytes:
        command = protocol.command_of(request)
        try:
            made = self._events_ if command == "events" else getattr(self, f"_{command}")
            return protocol.encode_result(made(request))
        except UsageError as error:
            return protocol.encode_error(str(error))

    def _lists(self, told: Any) -> Any:
        while not self._closed:
            with self._changed:
                while not self._closed and self.questions is told:
                    self._changed.wait()
                told = self.questions
            yield protocol.encode_result(told)

    def _lines(self, at: int) -> Any:
        while not self._closed:
            with self._changed:
                while not self._closed and len(self._events) == at:
                    self._changed.wait()
                fresh, at = self._events[at:], len(self._events)
            yield b"".join(one + b"\n" for one in fresh)

    # -- the commands

    def _questions(self, _request: Any) -> Any:
        return self.questions

    def _events_(self, _request: Any) -> Any:
        return protocol.Following(1 << 20)

    def _status(self, _request: Any) -> Any:
        since = time.time() - 86_000
        return protocol.DaemonStatus(
            "0.1.0", 1, since, "/etc/notifyd/notifyd.toml", since, {}, "", 2, 2, 987_654, 321, 1, 0,
            {}, 1,
        )  # fmt: skip

    def _workloads(self, _request: Any) -> Any:
        return self.workloads

    def _metrics(self, _request: Any) -> Any:
        self._looks += 1
        allow, deny = self._looks * 180 + self._looks % 3 * 70, self._looks * 9
        text = METRICS.format(allow=allow, deny=deny, both=allow + deny)
        return protocol.Metrics(text)

    def _grants(self, _request: Any) -> Any:
        return self.grants

    def _history(self, _request: Any) -> Any:
        return self.past

    def _approve(self, request: Any) -> Any:
        if self.refuses:
            raise UsageError(self.refuses)
        for one in self.questions:
            if one.id == request.id:
                self.ask(*(other for other in self.questions if other is not one))
                granted = isinstance(request, messages.ApproveRequest)
                return messages.Answered(one.id, one.text, one.workload, granted, request.scope)
        raise UsageError(f"no question {request.id} waits: see `notifyd ctl pending`")

    _deny = _approve

    def _revoke(self, request: Any) -> Any:
        (gone,) = [one for one in self.grants if one.id == request.id]
        self.grants.remove(gone)
        return gone
