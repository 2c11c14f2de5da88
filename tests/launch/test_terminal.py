"""Between a person and a command: real signals, and a real terminal with a real shell."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from notifyd.launch.signals import TakenSignals

Line = Callable[..., str]
EVERY = pytest.mark.parametrize("calls", ["none", "getppid", "all"])

# Says once for each signal that came, and ends with 5 at SIGUSR1. SIGQUIT ends it as it likes.
COUNT = """
import os, signal
wanted = {signal.SIG, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
os.write(1, b"ready\\n")
while signal.sigwait(wanted) != signal.SIGUSR1:
    os.write(1, b"caught\\n")
os._exit(5)
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
    """Wait for a line."""
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([child.stdout], [], [], 20)[0]
        piece = os.read(child.stdout.fileno(), 1)
        assert piece
        line += piece
    return line


@pytest.mark.usefixtures("whole")
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
    script = COUNT.replace("SIG,", "SIGTERM,").replace("while", "os.kill(0, 15)\nwhile")
    child = sitting(script)
    assert [_says(child), _says(child)] == [b"ready\n", b"caught\n"]
    child.send_signal(signal.SIGUSR1)
    assert child.wait(20) == 5
    assert child.stdout.read() == b""


def test_a_person_may_end_what_the_command_left_behind(sitting) -> None:
    """With the command gone, SIGTERM is reported, and descendants get nothing."""
    script = """
import os, select, signal
command = os.pidfd_open(os.getpid())
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    select.select([command], [], [])
    os.write(1, b"alone\\n")
    signal.pause()
"""
    child = sitting(script)
    assert _says(child) == b"alone\n"
    child.terminate()
    assert child.wait(20) == 99
    os.killpg(child.pid, signal.SIGKILL)


def test_without_a_shell_nobody_stops_with_the_command(sitting) -> None:
    """Where no shell would continue us we go on, and a SIGCONT sent to us is passed on."""
    script = """
import os, signal
signal.signal(signal.SIGCONT, lambda *_: os.write(1, b"back\\n"))
if os.fork() == 0:
    while open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[0] != "T":
        pass
    os.write(1, b"stopped\\n")
    os._exit(0)
os.kill(os.getpid(), signal.SIGSTOP)
os.wait()
"""
    child = sitting(script, "getppid")
    assert _says(child) == b"stopped\n"
    child.send_signal(signal.SIGCONT)
    assert _says(child) == b"back\n"
    assert child.wait(20) == 0


def test_orphans_are_reaped_and_the_status_is_left_to_its_owner(sitting) -> None:
    """A grandchild without a parent becomes ours and leaves no zombie; the status is not lost."""
    script = """
import os
reader, writer = os.pipe()
if os.fork() == 0:
    orphan = os.fork()
    if orphan: os.write(writer, b"%d" % orphan)
    os._exit(0)
os.wait()
orphan = int(os.read(reader, 20))
try:
    while True: os.kill(orphan, 0)  # a zombie is there, too
except ProcessLookupError:
    os.write(1, b"reaped\\n")
    os._exit(3)
"""
    child = sitting(script)
    assert _says(child) == b"reaped\n"
    assert child.wait(20) == 3


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
        terminal.settle()
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


def test_a_terminal_that_goes_away_ends_what_began_with_it(terminal, line: Line) -> None:
    """As leader of its session the supervisor alone is told; everybody else hears it from us."""
    script = "sleep 1000 & echo all=$$,$!, here; wait"
    terminal.type(f"exec {line('getppid', 'sh', '-c', script)}\n")
    *_, command, left = re.findall(r"\d+", terminal.expect(", here\r\n"))
    ends = [os.pidfd_open(pid) for pid in (terminal.pid, int(command), int(left))]
    try:
        terminal.hang_up()
        for end in ends:
            assert select.select([end], [], [], 20)[0]
    finally:
        for end in ends:
            os.close(end)


def test_a_job_in_the_background_that_reads_is_stopped(terminal, line: Line) -> None:
    """SIGTTIN from the terminal stops command and supervisor; `fg` gives it the keyboard."""
    terminal.type("set -b\n")  # tell of jobs at once
    terminal.type(line("read", "head", "-n1") + " &\n")
    terminal.expect("Stopped  ")
    terminal.expect("head -n1\r\r\n")
    terminal.type("fg\n")
    terminal.expect("head -n1\r\n")
    terminal.type("hello\n")
    terminal.expect("hello\r\nhello\r\n")


def test_a_change_of_the_window_reaches_the_command(terminal, line: Line, tmp_path: Path) -> None:
    """SIGWINCH comes once from the terminal, and the new size is the terminal's own."""
    import fcntl
    import struct
    import termios

    size = 'b"caught %d' + '\\n" % os.get_terminal_size()[0]'
    script = tmp_path / "script.py"
    script.write_text(COUNT.replace("SIG,", "SIGWINCH,").replace('b"caught\\n"', size))
    terminal.type(line("getppid", "python3", str(script)) + "\n")
    terminal.expect("ready\r\n")
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("4H", 30, 77, 0, 0))
    terminal.expect("caught 77\r\n")
    terminal.type("\x1c")
    assert "caught" not in terminal.expect("$ ")
