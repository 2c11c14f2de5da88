"""Questions at the terminal of `notifyd run`: a real pty, real commands, what is remembered."""

import contextlib
import http.server
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("whole")  # at a terminal

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds
CONNECT = """
import socket, sys
for port in map(int, sys.argv[1:]):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        print("connected", flush=True)
    except OSError as error:
        sys.stdout.write(f"refused {error.errno}\\n")
        sys.stdout.flush()
"""


@pytest.fixture
def server():
    """A port of this machine that takes connections."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found.server_address[1]
        found.shutdown()
        thread.join()


class Sitting:
    """Somebody at a terminal, with a command."""

    def __init__(self, home: Path, words: list[str], **more: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(home), **more}
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.execve(sys.executable, [sys.executable, "-m", "notifyd", *words], environment)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until a text is on the screen."""
        end = time.monotonic() + PATIENCE
        while not re.search(text, self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self.terminal], [], [], 0.1)[0]:
                self._read()

    def until_the_command_ends(self) -> None:
        """Wait until notifyd has no child with its command line."""
        end = time.monotonic() + PATIENCE
        command = f"{sys.executable}\0-c\0".encode()  # what notifyd has for itself is `-m`
        while any(line.startswith(command) for line in self._children()):
            assert time.monotonic() < end, self.seen
            time.sleep(0.01)

    def _children(self) -> list[bytes]:
        lines = []
        with contextlib.suppress(OSError):  # one has gone meanwhile
            for children in Path(f"/proc/{self.pid}/task").glob("*/children"):
                pids = children.read_text().split()
                lines += [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
        return lines

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.terminal, text.encode())

    def end(self) -> int:
        """Read to the end; the exit status."""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while True:
                self._read()
        os.close(self.terminal)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> None:
        data = os.read(self.terminal, 4096)
        if not data:
            raise OSError
        self.seen += data.decode(errors="replace")


def _words(*ports: int, rule="ask-connect") -> list[str]:
    return ["run", "--rules", rule, "--", sys.executable, "-c", CONNECT, *map(str, ports)]


@pytest.fixture
def sit(tmp_path):
    """`sit(*ports)`: a command under ask-connect that connects to these."""
    return lambda *ports: Sitting(tmp_path, _words(*ports))


@pytest.mark.parametrize(("typed", "result"), [("y", "connected"), ("n", "refused 13")])
def test_yes_and_no(sit, server, typed, result):
    """The question has who and where; the answer is for this one call."""
    sitting = sit(server, server)
    sitting.until(rf"wants to connect to 127\.0\.0\.1:{server}[\s\S]*allow it\?")
    sitting.type(f"{typed}\n")
    sitting.until(result)
    sitting.until(r"(?s)allow it\?.*allow it\?")
    sitting.type(f"{typed}\n")
    assert sitting.end() == 0
    assert sitting.seen.count(result) == 2, sitting.seen


def test_the_database_outlives_what_is_written(sit, server, tmp_path):
    """The command has ended, and its last answer is not written yet: the end waits for that."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    (path,) = tmp_path.rglob("notifyd.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # others wait
        sitting.type("n\n")
        sitting.until("refused 13")
        sitting.until_the_command_ends()
        other.execute("COMMIT")
        assert sitting.end() == 0
        assert other.execute("SELECT state FROM question").fetchall() == [("refused",)]


def test_always(sit, server):
    """A second run does not ask again; another destination is asked about."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("always\n")
    assert sitting.end() == 0
    assert "connected" in sitting.seen
    again = sit(server)
    assert again.end() == 0
    assert "connected" in again.seen
    assert "allow it?" not in again.seen


def test_never(sit, server):
    """Refused from now on, without a question."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("never\n")
    sitting.end()
    again = sit(server)
    again.end()
    assert "refused 13" in again.seen
    assert "allow it?" not in again.seen


def test_never_is_taken_back(sit, server, tmp_path):
    """What was decided for good is listed and revoked without a daemon; then it is asked again."""

    def own(*words):
        done = subprocess.run(
            [sys.executable, "-m", "notifyd", "ctl", *words, "--own"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("never\n")
    sitting.end()
    status, said = own("grants")
    assert status == 0
    assert re.search(rf"^1 +refused .* 127\.0\.0\.1:{server}$", said, re.MULTILINE)
    assert own("revoke", "1")[0] == 0
    assert own("grants", "--json") == (0, "[]\n")
    status, said = own("revoke", "1")
    assert (status, said.count("\n")) == (2, 1)
    assert "no grant 1 of yours holds" in said
    again = sit(server)
    again.until(r"allow it\?")
    again.type("n\n")
    again.end()


def test_for_the_run(sit, server):
    """Asked once in this run."""
    sitting = sit(server, server, server)
    sitting.until(r"allow it\?")
    sitting.type("run\n")
    assert sitting.end() == 0
    assert sitting.seen.count("connected") == 3
    assert sitting.seen.count("allow it?") == 1


def test_help_and_typing_errors(sit, server):
    """What is no answer gets an explanation, and the question again."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("perhaps\n")
    sitting.until(r"this time[\s\S]*allow it\?")
    sitting.type("y\n")
    assert sitting.end() == 0
    assert "connected" in sitting.seen


def test_what_was_typed_before_is_no_answer(tmp_path, server):
    """A yes that was meant for something else grants nothing."""
    go = tmp_path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    words = ["run", "--rules", "ask-connect", "--"]
    sitting = Sitting(tmp_path, [*words, sys.executable, "-c", waits + CONNECT, str(server)])
    sitting.type("y\n")
    sitting.until("y")  # as the terminal shows what is typed
    go.touch()
    sitting.until(r"allow it\?")
    sitting.type("n\n")
    sitting.end()
    assert "refused 13" in sitting.seen
    assert "connected" not in sitting.seen


def test_the_commands_input_is_its_own(tmp_path, server):
    """Standard input from elsewhere is not touched."""
    shell = (
        f"echo 'y for the command' | {sys.executable} -m notifyd run --rules ask-connect -- "
        f"{sys.executable} -c '{CONNECT}print(\"got\", sys.stdin.read())' {server}"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)}
    pid, terminal = pty.fork()
    if not pid:
        os.execve("/bin/bash", ["bash", "-c", shell], environment)
    sitting = object.__new__(Sitting)
    sitting.pid, sitting.terminal, sitting.seen = pid, terminal, ""
    sitting.until(r"allow it\?")
    sitting.type("y\n")
    sitting.until("connected")
    sitting.until("got y for the command")
    assert sitting.end() == 0


def test_ctrl_d_after_a_yes(sit, server):
    """Only Enter ends an answer; what Ctrl-D ends is a no."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("y\x04")
    assert sitting.end() == 0
    assert "refused 13" in sitting.seen


def test_ctrl_c(sit, server):
    """It is for the command, as ever; the question goes with it."""
    sitting = sit(server)
    sitting.until(r"allow it\?")
    sitting.type("\x03")
    assert sitting.end() == 130


def test_a_program_that_is_exchanged(tmp_path):
    """While the person thinks, another program takes the name: it does not run by that yes."""
    program, other = tmp_path / "program", tmp_path / "other"
    shutil.copy("/bin/true", program)
    shutil.copy("/bin/echo", other)
    words = ["run", "--rules", "ask-exec", "--option", "free=/bin/sh", "--"]
    sitting = Sitting(tmp_path, [*words, "sh", "-c", f"{program} exchanged; echo status $?"])
    sitting.until(r"allow it\?")
    other.rename(program)
    sitting.type("y\n")
    sitting.until(r"(?s)allow it\?.*(allow it\?|status \d)")
    if sitting.seen.count("allow it?") > 1:
        sitting.type("n\n")
    sitting.end()
    assert "\nexchanged" not in sitting.seen
    assert "status 0" not in sitting.seen


def test_no_terminal(tmp_path, server):
    """It is refused at once, and says why; what is remembered holds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)}
    words = [sys.executable, "-m", "notifyd", *_words(server)]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment,
            start_new_session=True,
        )

    done = run()
    assert done.stdout == "refused 13\n"
    assert "there is no terminal, and no daemon (--service)" in done.stderr
    sitting = Sitting(tmp_path, _words(server))
    sitting.until(r"allow it\?")
    sitting.type("always\n")
    sitting.end()
    assert run().stdout == "connected\n"
