"""Questions sent to a webhook: a real HTTP server, signed both ways, and what goes wrong."""

import contextlib
import errno
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
from living import ASKS, results

from notifyd.daemon import webhook as module
from notifyd.daemon.config import WebhookConfig
from notifyd.daemon.webhook import Webhook, read_secret
from notifyd.daemon.webhook_wire import parse_answer, sign
from notifyd.errors import PeerError, UsageError

SECRET = b"0123456789abcdef0123456789abcdef"


def signature(body: bytes, secret: bytes = SECRET, age: int = 0) -> str:
    """As a bot would make it, from the documentation alone."""
    stamp = str(int(time.time()) - age)
    mac = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mac}"


class Bot(ThreadingHTTPServer):
    """Answers as `script` says: a step a request, which makes a status, a body, a signature."""

    daemon_threads = False  # the end of the server waits for them, and for their sockets

    def __init__(self, *script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.got: list[dict] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stamp, _, mac = self.headers["Notifyd-Signature"].partition(",")
        made = hmac.new(SECRET, stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert mac == f"v1={made}"
        assert abs(int(stamp[2:]) - time.time()) < 60
        told = json.loads(body)
        self.server.got.append(told)
        step = self.server.script[min(len(self.server.got), len(self.server.script)) - 1]
        status, answer, signed = step(told)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if signed:
            self.send_header("Notifyd-Signature", signed)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it left meanwhile
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def bot(*script):
    with Bot(*script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def says(answer: str, *, secret: bytes = SECRET, age: int = 0, signed: bool = True, **more):
    """A step that answers."""

    def step(told):
        said = {"delivery": told["delivery"], "answer": answer, "by": "alice\x1b[1m", **more}
        body = json.dumps(said).encode()
        return 200, body, signature(body, secret, age) if signed else ""

    return step


def nothing(_told):
    return 202, b"", ""


def broken(_told):
    return 503, b"later", ""


@pytest.fixture
def hooked(live, monkeypatch):
    """A daemon with a webhook: `hooked(server, work)`."""
    monkeypatch.setattr(module, "RETRY_DELAYS_S", (0.01, 0.02, 0.03))

    def run(server, work, timeout=20.0, **more):
        async def hooked_work(ground):
            config = WebhookConfig(server.url, "/unused", timeout)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Webhook(ground.daemon, config, SECRET).run)
                await work(ground)
                nursery.cancel_scope.cancel()

        return live(hooked_work, children=("web",), rules=ASKS, **more)

    return run


@pytest.mark.parametrize(("answer", "got"), [("approve", "continued"), ("deny", "EACCES")])
def test_an_answer_at_once(hooked, capsys, answer, got):
    """It counts, and the log has who gave it."""

    async def work(ground):
        ground.call("web", b"n")
        await ground.counted(ground.daemon.workloads["web"], 1)
        assert results(ground.daemon.workloads["web"]) == [got]

    with bot(says(answer, reason="because")) as server:
        hooked(server, work)
    (told,) = server.got
    question = told["question"]
    assert (question["text"], question["workload"]) == ("may it know the name?", "web")
    assert question["tree"]
    assert question["title"] == "Names are asked for."
    assert r"by alice\x1b[1m by webhook" in capsys.readouterr().err


def test_no_answer_at_once(hooked):
    """The question waits for another face."""

    async def work(ground):
        ground.call("web", b"n")
        await ground.until(lambda: server.got)
        async with ground.client() as client:
            (question,) = await client.ask("pending")
            await client.ask("approve", id=question["id"])
        await ground.counted(ground.daemon.workloads["web"], 1)

    with bot(nothing) as server:
        hooked(server, work, top="[approvals]\nself-approval = true")
    assert len(server.got) == 1


def test_it_is_tried_again(hooked):
    """With the same delivery, so that a bot can tell."""

    async def work(ground):
        ground.call("web", b"n")
        await ground.counted(ground.daemon.workloads["web"], 1)

    with bot(broken, broken, says("approve")) as server:
        hooked(server, work)
    assert len(server.got) == 3
    assert len({one["delivery"] for one in server.got}) == 1


BAD = {
    "not signed": says("approve", signed=False),
    "wrongly signed": says("approve", secret=b"x" * 32),
    "seconds ago; at most 300 are good": says("approve", age=1000),
    "another question": says("approve", delivery="0" * 32),
    "not understood": says("perhaps"),
    "more than 65536 bytes": lambda _: (200, b" " * 70_000, ""),
    "status 404": lambda _: (404, b"", ""),
    "status 302": lambda _: (302, b"", ""),
    "status 503": broken,
    "cannot be answered for always": says("approve", scope="always"),
}


@pytest.mark.parametrize("error", BAD)
def test_bad_answers(hooked, capsys, error):
    """They count for nothing and are in the log; the question waits, and others are sent."""
    found = []

    async def work(ground):
        def said():
            found.append(capsys.readouterr().err)
            return error in "".join(found)

        ground.call("web", b"n")
        await ground.until(said)
        assert len(ground.daemon.queue.pending) == 1

    with bot(BAD[error]) as server:
        hooked(server, work)
    assert len(server.got) == (4 if BAD[error] is broken else 1)


def test_a_webhook_that_hangs(hooked):
    """Nobody waits for it; when the question has ended it is left."""
    left = threading.Event()

    def hangs(_told):
        left.wait(20)
        return nothing(_told)

    async def work(ground):
        ground.call("web", b"n")
        await ground.until(lambda: server.got)
        db = ground.start("db")
        ground.call("db", b"p" * 100)
        await ground.counted(db, 100)
        assert len(ground.daemon.queue.pending) == 1
        ground.daemon.workloads["web"].kill()
        await ground.until(lambda: not ground.daemon.queue.pending)
        ground.call("db", b"n")
        await ground.until(lambda: len(server.got) == 2)
        left.set()

    with bot(hangs) as server:
        hooked(server, work)


def test_a_webhook_that_is_not_there(hooked, capsys):
    """It is in the log."""
    found = []

    async def work(ground):
        def said():
            found.append(capsys.readouterr().err)
            return "ConnectError" in "".join(found)

        ground.call("web", b"n")
        await ground.until(said)

    with bot(nothing) as server:
        pass
    hooked(server, work)


def test_signatures():
    """Nonsense is refused in words, whatever it is."""
    body = b'{"delivery":"d","answer":"deny","by":"x"}'
    now = time.time()
    assert sign(SECRET, body, now) == signature(body)
    assert not parse_answer(SECRET, signature(body), body, "d", now, "h").granted
    for header in ("x", "t=,v1=", "t=1", "t=\u0661,v1=\xff", "v1=" + "0" * 64, f"t={'9' * 40}"):
        with pytest.raises(PeerError, match="signed"):
            parse_answer(SECRET, header, body, "d", now, "h")


def test_secrets(tmp_path):
    """One that others can read, or guess, is refused."""
    file = tmp_path / "secret"
    with pytest.raises(UsageError, match=f"{file}: {os.strerror(errno.ENOENT)}"):
        read_secret(str(file))
    file.write_bytes(b"short\n")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="a secret of 5 bytes: make one"):
        read_secret(str(file))
    file.write_bytes(SECRET + b"\nmore\n")
    assert read_secret(str(file)) == SECRET
    file.chmod(0o604)
    with pytest.raises(UsageError, match="chmod o="):
        read_secret(str(file))


CONFIG = """
[sockets.native]
path = "{here}/native.sock"
[webhook]
url = "URL"
secret-file = "{here}/secret"
[[workload]]
name = "tools"
rules = ["./asks.py"]
"""


def test_a_daemon_with_nothing_but_a_webhook(serve, tmp_path):
    """The configuration is enough: no control socket is needed."""
    with bot(says("approve")) as server:
        (tmp_path / "asks.py").write_text(ASKS)
        (tmp_path / "secret").write_bytes(SECRET)
        (tmp_path / "secret").chmod(0o600)
        text = CONFIG.replace("URL", server.url).replace("./asks.py", str(tmp_path / "asks.py"))
        service = serve(text.replace("{here}/secret", str(tmp_path / "secret")))
        socket = service.path("native")
        command = [sys.executable, "-m", "notifyd", "run", f"--service={socket}", "--", "uname"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert (done.stdout, done.returncode) == ("Linux\n", 0)
        answered = service.wait_for("approval.answered", state="granted")
        assert answered["by"] == r"alice\x1b[1m by webhook"
