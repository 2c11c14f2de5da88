"""Between the person's terminal and the command's own: bytes, window, who is in front, stopping.

While the command is in front, the real terminal is raw: every key goes on as it is, and the
command's terminal makes of it what the command wants. Else the real one is as it was found, and
nothing is read from it. That is so in the background, where others read along in a pipeline, and
until the command first asks for a key. Whatever the command writes is shown either way.

Owns the real terminal's settings while it is raw, and our end of the command's terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from notifyd.kernel import tty
from notifyd.launch.monitor import Monitor, OwnTerminal, leads_to
from notifyd.launch.screen import Screen, ScreenSwitch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from notifyd.launch.signals import TakenSignals, has_job_control
    from notifyd.launch.user import User

__all__ = ["FOREGROUND_POLL_INTERVAL_S", "Relay"]

_PIECE = 1 << 16  # bytes; more than a pseudo-terminal holds
_MAX_DRAINED_CHUNKS = 64  # pieces: somebody left behind may write for ever
# seconds between two looks at whether we are in front, where no shell tells us
FOREGROUND_POLL_INTERVAL_S = 0.3
_SETTLE_S = 0.05  # seconds from the first that it draws then
_REDRAW = 0.5  # seconds for a program to notice that its window has changed
_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_READS = frozenset({signal.SIGTTIN, signal.SIGTTOU})
_KEYS: Mapping[int, int] = {
    signal.SIGINT: termios.VINTR,
    signal.SIGQUIT: termios.VQUIT,
    signal.SIGTSTP: termios.VSUSP,
}


class Relay:
    """Two terminals and the command between them. A context manager.

    Args:
        real: the person's terminal, not blocking; owned from here on.
        user: who the command runs as: its terminal is theirs. None for ourselves.

    Raises:
        OSError: there is no pseudo-terminal.

    Attributes:
        own: what the command is to be started with.
        screen: what the command has made of the screen.
    """

    def __init__(self, real: int, user: User | None = None) -> None:
        with ExitStack() as undo:
            undo.callback(os.close, real)
            master, slave = os.openpty()
            undo.callback(os.close, master)
            undo.callback(os.close, slave)
            os.set_blocking(master, False)
            if user is not None:
                os.fchown(slave, user.uid, -1)
            self._begun: list[Any] = termios.tcgetattr(real)
            termios.tcsetattr(slave, termios.TCSANOW, self._begun)
            tty.set_window(slave, tty.window(real))
            undo.pop_all()
        self._real = real
        self._master = master
        self._before: list[Any] | None = None  # the real one's settings while it is raw
        self._raw_now: list[Any] = []  # how it was set then
        self._was_front = False  # when we were stopped
        self._writing = trio.Lock()
        self._asking = False
        self._changed = trio.Event()
        self._shown = trio.Event()  # something, since it was made
        self._reading: trio.CancelScope | None = None
        self._hung_up = False
        self._started = False
        device = tty.device(real)
        # Where others read the same keys, a key is ours only when the command asks for one.
        front = self._is_front() and leads_to(0, device) and leads_to(1, device)
        self.own = OwnTerminal(slave, master, device, front)
        self.screen = Screen()
        self._monitor: Monitor | None = None
        self._signals: TakenSignals | None = None

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._cook()
        for fd in (self._real, self._master, -1 if self._started else self.own.slave):
            if fd >= 0:
                os.close(fd)

    def begin(self, monitor: Monitor, signals: TakenSignals) -> None:
        """The command has started. Monitor and signals stay the caller's."""
        os.close(self.own.slave)
        self._started = True
        self._monitor, self._signals = monitor, signals
        if self.own.front:
            self._raw()

    # -- bytes

    async def run(self) -> None:
        """Relay until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._input)
            nursery.start_soon(self._output)

    async def _input(self) -> None:
        while not self._hung_up:
            if self._before is None or self._asking:
                await self._changed.wait()
                continue
            with trio.CancelScope() as scope:
                self._reading = scope
                await trio.lowlevel.wait_readable(self._real)
            self._reading = None
            if self._before is not None and not self._asking and not scope.cancelled_caught:
                await self._pass_keys()

    async def _pass_keys(self) -> None:
        try:
            data = os.read(self._real, 4096)
        except BlockingIOError:
            return
        except OSError:  # EIO: hung up; or somebody else is in front now
            data = b""
        if data:
            await _write(self._master, data)
        elif self._has_gone():
            self.hang_up()
        else:
            self._before = None

    def _has_gone(self) -> bool:
        try:
            return os.tcgetpgrp(self._real) == os.getpgrp()
        except OSError:
            return True

    async def _output(self) -> None:
        with contextlib.suppress(trio.ClosedResourceError, OSError):
            while self._master >= 0:
                await trio.lowlevel.wait_readable(self._master)
                async with self._writing:
                    if not await self._show():
                        return

    async def _show(self, *, whether: bool = False) -> bool:
        """Show what is there; False once nobody has the command's terminal open.

        Args:
            whether: False also where there was nothing to show.
        """
        try:
            data = os.read(self._master, _PIECE)
        except BlockingIOError:
            return not whether
        except OSError:  # EIO; EBADF: hung up
            return False
        self.screen.feed(data)
        self._shown.set()
        await _write(self._real, data)
        return bool(data)

    async def drain(self) -> None:
        """Show what the command has written before it ended."""
        # A read that finds nothing has waited for what was under way: n_tty_read, drivers/tty.
        async with self._writing:
            for _ in range(_MAX_DRAINED_CHUNKS):
                if self._master < 0 or not await self._show(whether=True):
                    return

    # -- in front or behind

    def _is_front(self) -> bool:
        try:
            return os.tcgetpgrp(self._real) == os.getpgrp()
        except OSError:
            return False

    def _raw(self) -> None:
        """Hand the keys to the command."""
        if self._before is None and not self._hung_up:
            with contextlib.suppress(OSError, termios.error):
                before = termios.tcgetattr(self._real)
                if termios.tcgetattr(self._master) == self._begun:
                    # It began in the background, where a shell has the terminal as it likes it.
                    termios.tcsetattr(self._master, termios.TCSANOW, before)
                self._begun = []
                termios.tcsetattr(self._real, termios.TCSADRAIN, _raw(before))
                self._raw_now = termios.tcgetattr(self._real)
                self._before = before
        self.resize()
        self._tell()

    def _cook(self) -> None:
        """Put the real terminal back as it was."""
        before, self._before = self._before, None
        if before is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._real, termios.TCSADRAIN, before)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self._reading is not None:
            self._reading.cancel()

    def resize(self) -> None:
        """The real window may have another size."""
        with contextlib.suppress(OSError):
            tty.set_window(self._master, tty.window(self._real))

    async def follow(self) -> int:
        """Live with the command's stops until it has ended; its status."""
        assert self._monitor is not None
        while True:
            await trio.lowlevel.wait_readable(self._monitor)
            number = self._monitor.news()
            if self._monitor.status is not None:
                return self._monitor.status
            if self._monitor.hung_up:
                self._close_master()
            if number:
                await self._stopped(number)

    async def _stopped(self, number: int) -> None:
        assert self._monitor is not None
        if number in _READS and self._before is None and self._is_front():
            self._raw()
            self._monitor.go_on(front=True)
            return
        if number not in _STOPS and not has_job_control():
            return  # whoever stopped it continues it; nobody would continue us
        await self.drain()
        stopped = self._stop(number)
        # Behind, and not stopped: there is no shell to tell us when we are in front.
        while not stopped and number in _READS and not self._is_front() and not self._hung_up:
            with trio.move_on_after(FOREGROUND_POLL_INTERVAL_S):
                await trio.lowlevel.wait_readable(self._monitor)
                return
        self.resume(number)

    def _stop(self, number: int) -> bool:
        """Stop as the command did; whether somebody continued us."""
        assert self._signals is not None
        self._was_front = self._before is not None
        self._cook()
        return self._signals.stop(number, group=number in _STOPS)

    def resume(self, number: int = 0) -> None:
        """We go on, and so does the command; in front of its terminal if we are of ours.

        Args:
            number: what had stopped it; 0 if it did not stop.
        """
        assert self._monitor is not None
        wants = self._was_front or number in _READS or self._before is not None
        front, self._was_front = wants and self._is_front(), False
        if self._before is not None and not (front and self._is_raw()):
            self._before = None  # the shell has it in its own way now
        if front:
            self._raw()
        self._monitor.go_on(front=front)

    def _is_raw(self) -> bool:
        try:
            return bool(termios.tcgetattr(self._real) == self._raw_now)
        except termios.error:
            return False

    def key(self, number: int) -> None:
        """A key of the real terminal sent a signal to us, since it is not raw now."""
        if self._monitor is None:
            return
        if not self._asking or self._before is None or number not in _KEYS:
            self._monitor.send(number)
            return
        with contextlib.suppress(OSError, termios.error):
            os.write(self._master, termios.tcgetattr(self._master)[6][_KEYS[number]])

    def hang_up(self) -> None:
        """The real terminal is gone: so is the command's."""
        if not self._hung_up and self._monitor is not None:
            self._hung_up = True
            self._before = None
            self._monitor.hang_up()  # and when it has, we close our end
            self._tell()
            if self._monitor.status is not None:
                self._close_master()

    def _close_master(self) -> None:
        master, self._master = self._master, -1
        if master >= 0:
            trio.lowlevel.notify_closing(master)
            os.close(master)

    # -- taking the screen over

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[bool]:
        """Nothing of the command is shown meanwhile, and no key goes to it.

        What is said meanwhile is gone afterwards if the command paints the screen; the value says
        whether it does.
        """
        aside = ScreenSwitch()
        try:
            async with self._writing:
                self._asking = True
                self._tell()
                try:
                    plain, second = _abilities()
                    lines = self._by_lines()
                    aside = self.screen.aside(lines=lines, plain=plain, second=second)
                    await _write(self._real, aside.before)
                    yield aside.paints
                finally:
                    with trio.CancelScope(shield=True):
                        await _write(self._real, aside.after)
                    self._asking = False
                    self._tell()
        finally:
            if aside.redraw:
                with trio.CancelScope(shield=True):
                    await self._redraw()

    def _by_lines(self) -> bool:
        try:
            return bool(termios.tcgetattr(self._master)[3] & termios.ICANON)
        except termios.error:
            return True

    async def _redraw(self) -> None:
        """Have the command draw the screen anew: most do so only for a window of another size."""
        with contextlib.suppress(OSError):
            rows, columns, width, height = tty.window(self._master)
            self._shown = trio.Event()
            tty.set_window(self._master, (rows, columns + 1, width, height))
            with trio.move_on_after(_REDRAW):
                await self._shown.wait()
                await trio.sleep(_SETTLE_S)
        self.resize()


def _abilities() -> tuple[bool, bool]:
    """Whether the terminal knows no sequences at all, and whether it has an alternate screen."""
    name = os.environ.get("TERM", "dumb")
    if name == "dumb":
        return True, False
    try:
        import curses
    except ImportError:
        return False, True
    try:
        curses.setupterm(name, -1)
    except curses.error:  # one that nobody here knows: most are like xterm
        return False, True
    return False, curses.tigetstr("smcup") is not None


def _raw(settings: list[Any]) -> list[Any]:
    """Settings under which every byte goes through as it is, both ways: cfmakeraw(3)."""
    _, output, control, local, *speeds, characters = settings
    output &= ~termios.OPOST
    control = control & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    local &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = list(characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return [0, output, control, local, *speeds, characters]


async def _write(fd: int, data: bytes) -> None:
    """Write all of it; what a terminal that is gone was to get is lost."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(fd)
        except OSError:
            return
