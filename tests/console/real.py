"""A real daemon, a real console, and commands under the daemon's rules: each a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds; what a test waits at most

RULES = '''
"""Writing into the folder of secrets is asked for."""
import errno
from notifyd import Allow, Ask, Deny, Open, on

@on(Open)
def ask_before_writing(call: Open):
    if not call.writes or not call.path.is_relative_to("{here}/secrets"):
        return None
    return Ask(f"{{call.process.exe.name}} wants to write {{call.path}}",
               otherwise=Deny(errno.EACCES), key=str(call.path))
'''
CONFIGURATION = """
watch = false
[sockets.native]
path = "{here}/native.sock"
[sockets.control]
path = "{here}/control.sock"
mode = "0666"
[approvals]
path = "{here}/approvals.db"
{more}
[[workload]]
name = "builds"
rules = ["{here}/ask.py"]
"""


class Ground:
    """A daemon and its console. A context manager.

    Args:
        folder: where all of it is; its path is short enough for sockets.
        more: lines for the top of the configuration's `[approvals]`.
    """

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.begun: list[subprocess.Popen[bytes]] = []
        (folder / "secrets").mkdir()
        (folder / "ask.py").write_text(RULES.format(here=folder))
        (folder / "notifyd.toml").write_text(CONFIGURATION.format(here=folder, more=more))

    def __enter__(self) -> Ground:
        self.begin("serve", "--config", f"{self.folder}/notifyd.toml", log="serve.log")
        self.said("serve.log", "ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self.begun):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def console(self, *words: str, user: int | None = None) -> None:
        """Start the console on a port that is free, as a user."""
        words = ("console", "--listen", "127.0.0.1:0", *self._control, *words)
        self.begin(*words, log="console.log", user=user)
        self.said("console.log", "to log in")

    @property
    def _control(self) -> tuple[str, str]:
        return "--socket", f"{self.folder}/control.sock"

    def begin(self, *words: str, log: str, user: int | None = None) -> subprocess.Popen[bytes]:
        """Start a command of notifyd; what it says is in a file."""
        with (self.folder / log).open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "notifyd", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment(user),
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self.begun.append(process)
        return process

    def ctl(self, *words: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        """`notifyd ctl` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "notifyd", "ctl", *words, *self._control],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=self._environment(user),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def write(self, name: str) -> subprocess.Popen[bytes]:
        """A command that writes a secret, under the daemon's rules; exit status 1 if refused."""
        script = f"echo told > {self.folder}/secrets/{name}"
        service = f"--service={self.folder}/native.sock"
        return self.begin("run", service, "--", "sh", "-c", script, log=f"{name}.log")

    def said(self, log: str, words: str) -> str:
        """What a command has said, as soon as these words are in it."""
        end = time.monotonic() + PATIENCE
        while words not in (text := (self.folder / log).read_text()):
            assert time.monotonic() < end, text
            time.sleep(0.02)
        return text

    def pending(self) -> list[dict[str, Any]]:
        """The questions that wait, as soon as there are any."""
        end = time.monotonic() + PATIENCE
        while not (found := json.loads(self.ctl("pending", "--json").stdout)):
            assert time.monotonic() < end
        return list(found)

    def _environment(self, user: int | None = None) -> dict[str, str]:
        gone = ("NOTIFYD_CONTROL", "XDG_RUNTIME_DIR")
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        if user is not None:
            kept["XDG_RUNTIME_DIR"] = str(self._home(user))
        return {**kept, "PYTHONPATH": str(ROOT)}

    def _home(self, user: int) -> Path:
        home = self.folder / f"user-{user}"
        if not home.exists():
            home.mkdir()
            os.chown(home, user, user)
        return home
