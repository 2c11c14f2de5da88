"""Commands behind real filters, answered by loops that continue every call, and a real terminal."""

import contextlib
import importlib.util
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from notifyd.kernel import arch, seccomp
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier
from notifyd.launch.spawn import spawn
from notifyd.launch.spawned import Spawned

SUPERVISOR = Path(__file__).with_name("supervisor.py")
ROOT = SUPERVISOR.parents[2]
PATIENCE = 20.0  # seconds; what a test waits at most

Program = Callable[[str], bytes]
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def supervisor() -> ModuleType:
    """The module supervisor.py."""
    spec = importlib.util.spec_from_file_location("supervisor", SUPERVISOR)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def program(supervisor: ModuleType) -> Program:
    """Make a filter that traps the calls named, joined by commas; `all` or `none`."""
    return supervisor.program


@pytest.fixture
def start(program: Program) -> Iterator[Callable[..., Spawned]]:
    """Spawn a command; `start(command, "all")`. Whatever is left of it is killed."""
    with contextlib.ExitStack() as stack:

        def starter(command: list[str], calls: str = "none", **more: object) -> Spawned:
            flags = 0 if calls == "none" else seccomp.FILTER_FLAG_NEW_LISTENER
            spawned = spawn(command, program(calls), flags=flags, **more)
            stack.callback(_finish, spawned)
            return spawned

        yield starter


def _finish(spawned: Spawned) -> None:
    with spawned:
        if spawned.reap() is None:
            os.kill(spawned.pid, signal.SIGKILL)
            os.waitpid(spawned.pid, 0)


def _names(spawned: Spawned) -> list[str]:
    assert spawned.listener is not None
    notifier, seen = Notifier(spawned.listener), []
    ready = select.poll()
    ready.register(spawned.listener, select.POLLIN)
    while True:
        events = ready.poll(PATIENCE * 1000)
        assert events, f"no call after {seen[-3:]}"
        if not events[0][1] & select.POLLIN:
            return seen
        try:
            id_, _, _, nr, *_ = notifier.receive()
        except FileNotFoundError:
            continue
        seen.append(arch.native().name_of(nr) or str(nr))
        notifier.respond(id_, 0, 0, RESPONSE_CONTINUE)


@pytest.fixture
def finish() -> Callable[[Spawned], tuple[int, list[str]]]:
    """Continue every call until the command has ended: its status, and the calls."""

    def finisher(spawned: Spawned) -> tuple[int, list[str]]:
        seen = [] if spawned.listener is None else _names(spawned)
        assert select.select([spawned.pidfd], [], [], PATIENCE)[0]
        status = spawned.reap()
        assert status is not None
        return status, seen

    return finisher


def supervised(calls: str, *command: str) -> list[str]:
    """Return the command line that runs a command under supervisor.py."""
    return [sys.executable, "-W", "error", str(SUPERVISOR), calls, *command]


@pytest.fixture
def run() -> Run:
    """Run a whole supervisor process: `run("all", "ls", "-l", before=["env", "-i"])`."""

    def runner(calls: str, *command: str, before: tuple[str, ...] = (), **more: object) -> object:
        more.setdefault("env", {**os.environ, "PYTHONPATH": str(ROOT)})
        line = [*before, *supervised(calls, *command)]
        return subprocess.run(line, capture_output=True, timeout=PATIENCE, **more)

    return runner


class Terminal:
    """A person at a real terminal, in front of a shell with job control."""

    def __init__(self) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PS1": "$ "}
            os.execve("/bin/bash", ["bash", "--norc", "--noediting", "-i"], environment)
        self.expect("$ ")

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> str:
        """Wait until this is shown; return what was shown before it, which is then forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            left = max(0, deadline - time.monotonic())
            assert select.select([self.fd], [], [], left)[0], f"{text!r} not in {self.seen!r}"
            self.seen += os.read(self.fd, 4096)
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode()

    def settle(self) -> None:
        """Wait until the supervisor in the foreground sleeps, as it does when a person types."""
        deadline = time.monotonic() + PATIENCE
        stopping = 1 << signal.SIGTSTP - 1
        while time.monotonic() < deadline:
            status = Path(f"/proc/{os.tcgetpgrp(self.fd)}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines())
            if fields["State"][0] == "S" and int(fields["SigBlk"], 16) & stopping:
                return
            os.sched_yield()
        raise AssertionError("the supervisor does not come to rest")

    def hang_up(self) -> None:
        """Close the window."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        """Hang up, and wait for the shell."""
        self.hang_up()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A shell at a pseudo-terminal."""
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def line() -> Callable[..., str]:
    """Write a supervised command as a line for the shell, where $1 and so on are quoted."""
    import shlex

    return lambda calls, *command: shlex.join(supervised(calls, *command))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a descriptor or a child behind."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
