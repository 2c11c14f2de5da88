"""A person at a terminal with a screen that can be looked at: a shell, or one program."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds
QUIET = 0.4  # seconds without output: the program has said what it had to say


class Screen(pyte.Screen):
    """pyte's, with the alternate screen that it leaves out."""

    normal = None

    def set_mode(self, *modes: int, **more: bool) -> None:
        """1049: keep what is shown, and clear."""
        super().set_mode(*modes, **more)
        if 1049 in modes and more.get("private") and self.normal is None:
            self.normal = deepcopy(self.buffer), deepcopy(self.cursor)
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **more: bool) -> None:
        """1049: back to what was kept."""
        super().reset_mode(*modes, **more)
        if 1049 in modes and more.get("private") and self.normal is not None:
            (self.buffer, self.cursor), self.normal = self.normal, None
            self.dirty.update(range(self.lines))

    def select_graphic_rendition(self, *attributes: int, **more: bool) -> None:
        """What sets the keyboard of the keyboard look like colours."""
        if not more.get("private"):
            super().select_graphic_rendition(*attributes)

    def report_device_status(self, mode: int, **more: bool) -> None:
        """Answers go nowhere."""

    def report_device_attributes(self, mode: int = 0, **more: bool) -> None:
        """Answers go nowhere."""


class Window:
    """A window with something running in it.

    Args:
        words: what runs; an interactive bash by default.
        home: its directory for state.
    """

    def __init__(self, home: Path, *words: str) -> None:
        self.home = home
        self.screen = Screen(80, 24)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            environment = {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "XDG_STATE_HOME": str(home / "state"),
                "HOME": str(home),
                "PS1": "$ ",
                "TERM": "xterm",
            }
            os.chdir(home)
            line = [*words] or ["/bin/bash", "--norc", "--noediting", "-i"]
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
            os.execvpe(line[0], line, environment)

    def resize(self, rows: int, columns: int) -> None:
        """Make the window larger or smaller."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self.fd, text.encode())

    def read(self, wait: float) -> bool:
        """Show what comes within so many seconds; whether something did."""
        if not select.select([self.fd], [], [], wait)[0]:
            return False
        data = os.read(self.fd, 65536)
        self.raw += data
        self.stream.feed(data)
        return bool(data)

    def shown(self) -> str:
        """The screen as text, without what is blank at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, what: str | Callable[[str], bool]) -> str:
        """Wait until a pattern is on the screen, or it is as a function wants it; the screen."""
        end = time.monotonic() + PATIENCE
        holds = what if callable(what) else lambda text: re.search(what, text)
        while not holds(self.shown()):
            assert time.monotonic() < end, f"{what}\n{self.shown()}\n{self.raw[-3000:]!r}"
            self.read(0.1)
        return self.shown()

    def until_raw(self) -> None:
        """Wait until the terminal passes every key on."""
        end = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < end, self.shown()
            self.read(0.05)

    def settled(self) -> str:
        """The screen when nothing changes any more."""
        end = time.monotonic() + PATIENCE
        while self.read(QUIET):
            assert time.monotonic() < end, self.shown()
        return self.shown()

    def end(self) -> int:
        """Read to the end; the exit status."""
        with contextlib.suppress(OSError):
            while self.read(PATIENCE):
                pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Hang up, and wait for the end of what ran."""
        with contextlib.suppress(OSError):
            os.close(self.fd)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
