"""Between a person and a command: real signals, and a real terminal with a real shell."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from notifyd.listen.signals import TakenSignals
from notifyd.listen.terminal import relay_signals, wait_status

Line = Callable[..., str]
EVERY = pytest.mark.parametrize("calls", ["none", "getppid", "all"])

COUNT = """
import signal, sys
signal.signal(signal.SIG, lambda *_: print("caught", flush=True))
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def sitting(request: pytest.FixtureRequest):
    """Start a supervised script without a terminal; ends it, whatever happens."""
    import sys

    here = Path(__file__)
    children = []

    def start(script: str, calls: str = "getppid", **more: object) -> "subprocess.Popen[bytes]":
        line = [sys.executable, str(here.with_name("supervisor.py")), calls]
        child = subprocess.Popen(
            [*line, sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(here.resolve().parents[2])},
            start_new_session=True,
            **more,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()


def _says(child: "subprocess.Popen[bytes]") -> bytes:
    assert select.select([child.stdout], [], [], 20)[0]
    return os.read(child.stdout.fileno(), 4096)


@EVERY
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGWINCH", "SIGCONT", "SIGRTMIN"])
def test_what_is_sent_to_us_reaches_the_command_once(sitting, calls: str, name: str) -> None:
    """kill(2) of the supervisor is for the command; its own handler decides."""
    child = sitting(COUNT.replace("SIG,", name + ","), calls)
    assert _says(child) == b"ready\n"
    child.send_signal(getattr(signal, name))
    assert _says(child) == b"caught\n"
    child.send_signal(signal.SIGUSR1)
    assert child.wait(20) == 5
    assert child.stdout.read() == b""


def test_a_command_that_dies_of_it_shows_in_the_status(sitting) -> None:
    """128 and the signal, though it went to the supervisor."""
    child = sitting("import signal; print('ready', flush=True); signal.pause()")
    assert _says(child) == b"ready\n"
    child.terminate()
    assert child.wait(20) == 128 + signal.SIGTERM


def test_kill_zero_in_the_workload_is_not_doubled(sitting) -> None:
    """A signal to the whole group from inside has reached the command already."""
    script = COUNT.replace("SIG,", "SIGTERM,").replace(
        "while True:", "import os; os.kill(0, signal.SIGTERM)\nwhile True:"
    )
    child = sitting(script)
    assert _says(child).startswith(b"ready\n")
    child.send_signal(signal.SIGUSR1)
    assert child.wait(20) == 5
    assert child.stdout.read().count(b"caught") <= 1


def test_a_person_may_end_what_the_command_left_behind(sitting) -> None:
    """With the command gone, SIGTERM is reported, and descendants get nothing."""
    script = """
import os, signal
reader, writer = os.pipe()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(writer); os.read(reader, 1)  # until the command has ended
    print("alone", flush=True)
    signal.pause()
"""
    child = sitting(script)
    assert _says(child) == b"alone\n"
    child.terminate()
    assert child.wait(20) == 99
    os.killpg(child.pid, signal.SIGKILL)


def test_orphans_are_reaped_and_the_status_is_left_to_its_owner(start) -> None:
    """A daemon's zombie does not stay with us; the command's status is not taken."""

    async def main() -> int:
        nonlocal spawned
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: relay_signals(spawned, signals, want_end=trio.Event()))
            status = await wait_status(spawned)
            with trio.fail_after(20):
                while orphan_is_there():
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            return status

    def orphan_is_there() -> bool:
        text = Path("/proc/thread-self/children").read_text()
        return bool(text.split())

    with TakenSignals() as signals:
        spawned = start(["sh", "-c", "(true & exec true) & exit 3"], signals=signals.before)
        assert trio.run(main) == 3


def test_taking_signals_is_undone() -> None:
    """Mask and dispositions are as before, an ignored SIGCHLD included."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with TakenSignals() as signals:
            assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
            assert signal.SIGCHLD in signals.before.ignored
            assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@EVERY
def test_ctrl_c_reaches_the_command_once(terminal, line: Line, calls: str, tmp_path: Path) -> None:
    """The terminal signals the group; we add nothing."""
    script = tmp_path / "script.py"
    script.write_text(COUNT.replace("SIG,", "SIGINT,"))
    terminal.type(line(calls, "python3", str(script)) + "; echo status=$?\n")
    terminal.expect("ready\r\n")
    terminal.type("\x03")
    terminal.expect("caught\r\n")
    terminal.type("\x1c")  # the command has no handler for SIGQUIT
    shown = terminal.expect(f"status={128 + signal.SIGQUIT}")
    assert "caught" not in shown
    assert "Traceback" not in shown


@EVERY
def test_a_stopped_command_is_a_stopped_job(terminal, line: Line, calls: str) -> None:
    """Ctrl-Z gives the shell its prompt back, `fg` goes on, and the end is told."""
    terminal.type(line(calls, "cat") + "; echo status=$?\n")
    terminal.expect("echo status=$?\r\n")
    for text in ("one", "two"):
        terminal.type(text + "\n")
        terminal.expect(f"{text}\r\n{text}\r\n")
        terminal.type("\x1a")
        assert "Stopped" in terminal.expect("$ ")
        terminal.type("jobs\n")
        assert re.search(r"\[1\]\+\s+Stopped ", terminal.expect("$ "))
        terminal.type("fg\n")
        terminal.expect("cat\r\n")
    terminal.type("three\n")
    terminal.expect("three\r\nthree\r\n")
    terminal.type("\x04")
    terminal.expect("$ ")


def test_a_job_in_the_background_that_reads_is_stopped(terminal, line: Line) -> None:
    """SIGTTIN from the terminal stops command and supervisor; `fg` gives it the keyboard."""
    terminal.type(line("read", "head", "-n1") + " & sync\n")
    terminal.expect("$ ")
    terminal.type("wait -f %1 2>/dev/null; jobs\n")
    assert "Stopped (tty input)" in terminal.expect("$ ")
    terminal.type("fg\n")
    terminal.expect("head -n1")
    terminal.type("hello\n")
    terminal.expect("hello\r\nhello\r\n")


def test_a_change_of_the_window_reaches_the_command(terminal, line: Line, tmp_path: Path) -> None:
    """SIGWINCH comes once from the terminal, and the new size is the terminal's own."""
    import fcntl
    import struct
    import termios

    size = "__import__('os').get_terminal_size()[0]"
    script = tmp_path / "script.py"
    script.write_text(
        COUNT.replace("SIG,", "SIGWINCH,").replace('"caught"', f'f"caught {{{size}}}"')
    )
    terminal.type(line("getppid", "python3", str(script)) + "\n")
    terminal.expect("ready\r\n")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("4H", 30, 77, 0, 0))
    terminal.expect("caught 77\r\n")
    terminal.type("\x1c")
    assert "caught" not in terminal.expect("$ ")
