"""Real programs under `notifyd run`, and what the audit file says of them."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds; what a test waits at most for a command

PRELUDE = """
import ctypes, errno, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, function, *args):
    "Print a line: the name, and what came of it."
    try:
        found = function(*args)
        found = found if isinstance(found, (str, int)) else "done"
    except OSError as error:
        found = errno.errorcode[error.errno]
    print(json.dumps([name, found]), flush=True)

def syscall(number, *args):
    "A bare system call; its errors are OSError."
    six = [ctypes.c_ulong(one & 2**64 - 1) if isinstance(one, int) else one for one in args]
    found = libc.syscall(ctypes.c_long(number), *six)
    if found < 0:
        raise OSError(ctypes.get_errno(), "")
    return found
"""


@dataclass(frozen=True)
class Ran:
    """What became of a command.

    Attributes:
        status: its exit status, as the shell shows it.
        found: by name, what the program's `attempt`s came to: a value, or an errno's name.
        events: every line of the audit file.
    """

    status: int
    out: str
    err: str
    events: list[dict[str, Any]]

    @property
    def found(self) -> dict[str, Any]:
        return dict(json.loads(line) for line in self.out.splitlines() if line.startswith("["))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The events of calls that left the kernel."""
        return [event for event in self.events if event["event"] == "call"]


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, whole: None) -> Run:
    """Run a command: `run(["no-network"], "true", user="nobody", to=("::1", "localhost"))`.

    `before` are words before notifyd's own; `fds` are descriptors that the command inherits.
    """

    def start(
        rules: list[str],
        *command: str,
        user: str | None = None,
        before: tuple[str, ...] = (),
        fds: tuple[int, ...] = (),
        **options: Any,
    ) -> Ran:
        audit = tmp_path / "audit.jsonl"
        words = [*before, sys.executable, "-m", "notifyd", "run", "--audit", str(audit)]
        for rule in rules:
            words += ["--rules", rule]
        for name, value in options.items():
            for one in value if isinstance(value, tuple) else (value,):
                words += ["--option", f"{name}={one}"]
        words += ["--user", user] if user else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*words, "--", *command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            env=environment,
            pass_fds=fds,
            check=False,
        )
        lines = audit.read_text().splitlines() if audit.exists() else []
        return Ran(done.returncode, done.stdout, done.stderr, [json.loads(one) for one in lines])

    return start


def everybodys_python() -> str:
    """An interpreter that every user can execute; ours may lie in root's home."""
    for path in (Path("/usr/bin/python3"), Path(sys.executable)):
        real = path.resolve()
        if real.exists() and all(one.stat().st_mode & 0o001 for one in (real, *real.parents)):
            return str(path)
    pytest.skip("no Python here that every user can execute")


@pytest.fixture
def program() -> Callable[[str], str]:
    """The whole text of a Python program that makes attempts."""
    return lambda code: PRELUDE + textwrap.dedent(code)


@pytest.fixture
def python(run: Run, program: Callable[[str], str]) -> Run:
    """Run a Python program: `python(["no-network"], "attempt('x', socket.socket)")`."""

    def start(
        rules: list[str], code: str, *arguments: str, user: str | None = None, **more: Any
    ) -> Ran:
        interpreter = everybodys_python() if user else sys.executable
        return run(rules, interpreter, "-I", "-c", program(code), *arguments, user=user, **more)

    return start


@pytest.fixture
def natively(whole: None) -> Callable[..., dict[str, Any]]:
    """Run the same Python program without rules: `natively("attempt('x', f)")["x"]`."""

    def start(code: str, *arguments: str, user: str | None = None) -> dict[str, Any]:
        words = [everybodys_python(), "-I", "-c", PRELUDE + textwrap.dedent(code), *arguments]
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE,
            user=user,
            group="nogroup" if user else None,
            check=True,
        )
        return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))

    return start


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory where every user may make files, with all directories above it open."""
    with TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@pytest.fixture(params=["", "nobody"], ids=["as ourselves", "as nobody"])
def user(request: pytest.FixtureRequest) -> str | None:
    """Whose name a command runs in: ours, or that of one who has nothing."""
    if request.param and os.geteuid():
        pytest.skip("only root can become somebody else")
    return request.param or None


@pytest.fixture
def shell(run: Run) -> Run:
    """Run a line of shell behind a rule: `shell("readonly", "touch /x", below="/")`."""

    def start(rule: str, line: str, **more: Any) -> Ran:
        return run([rule], "/bin/sh", "-c", line, **more)

    return start


@pytest.fixture
def system_python() -> str:
    """An interpreter that every user can execute, with all its parts below /usr."""
    return everybodys_python()
