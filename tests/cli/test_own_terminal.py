"""The terminal of its own that a command has where somebody may be asked: as without notifyd."""

import os
import re
import select
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from window import Window

pytestmark = pytest.mark.usefixtures("whole")  # at a terminal

ASKED = r"allow it\? \[.*\] *\Z"
FREE = ["sh", "bash", "python3", "vim", "less", "top", "cat", "head", "seq", "stty", "ls", "tty"]
# Waits for a file, and executes what nobody has allowed.
LATER = """
import os, subprocess, time
while not os.path.exists("go"):
    time.sleep(0.02)
try:
    subprocess.run(["./program"])
    said = "ran"
except OSError:
    said = "refused"
with open("part", "w") as file:
    file.write(said)
os.rename("part", "done")
"""


def supervised(*words: str) -> list[str]:
    """A command line that asks about every program but a few."""
    paths = {os.path.realpath(found) for one in FREE if (found := shutil.which(one))}
    paths |= {os.path.realpath(sys.executable)}
    options = [word for path in sorted(paths) for word in ("--option", f"free={path}")]
    return [
        sys.executable,
        "-m",
        "notifyd",
        "run",
        "-q",
        "--rules",
        "ask-exec",
        *options,
        "--",
        *words,
    ]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of a short name, with a text, and a program that nobody has allowed."""
    with tempfile.TemporaryDirectory(prefix="n") as name:
        found = Path(name)
        (found / "text").write_text("".join(f"line {number} of it\n" for number in range(300)))
        (found / "later.py").write_text(LATER)
        shutil.copy("/bin/true", found / "program")
        yield found


@pytest.fixture
def window(home: Path) -> Iterator[Callable[..., Window]]:
    """`window(*words)`: something that runs in a window; a shell by default."""
    made: list[Window] = []

    def make(*words: str) -> Window:
        made.append(Window(home, *words))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def shell(window: Callable[..., Window]) -> Window:
    """An interactive shell."""
    found = window()
    found.until(r"\$ *\Z")
    return found


@pytest.fixture
def line(home: Path) -> Callable[..., str]:
    """`line(*words)`: a short line for the shell that runs something under a question."""

    def write(*words: str) -> str:
        (home / "r").write_text(f"exec {shlex.join(supervised(*words))}\n")
        return "sh r"

    return write


# What runs, what is typed into it, and a line that is then on its screen.
PROGRAMS = {
    "vim": ("vim -N -n -u NONE -i NONE text", "20jihere ", "(?m)^here line 20 of it"),
    "less": ("less text", "10j", "(?m)^line 10 of it"),
    "less on the normal screen": ("less -X text", "10j", "line 32 of it"),
    "top": ("top -d 1000", "", "PID USER"),
    "a line editor": ("bash --norc -i", "echo this is typed", "this is typed"),
    "another line editor": ("python3 -q", "12 + 30", r"12 \+ 30"),
}


def _begun(window: Callable[..., Window], home: Path, name: str, under: bool) -> Window:
    line, typed, there = PROGRAMS[name]
    (home / "start").write_text(f"python3 later.py &\nexec {line}\n")
    words = ["sh", "start"]
    made = window(*(supervised(*words) if under else words))
    made.until(lambda text: bool(text))
    made.settled()
    if typed:
        made.type(typed)
    made.until(there)
    made.settled()
    return made


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_program_that_paints_the_screen(window, home, name):
    """It looks as without notifyd; a question comes, is answered, and is gone without a trace."""
    plain = _begun(window, home, name, under=False)
    ours = _begun(window, home, name, under=True)
    if name != "top":  # whose numbers change
        assert ours.shown() == plain.shown()
    plain.close()
    before, cursor = ours.shown(), (ours.screen.cursor.x, ours.screen.cursor.y)
    (home / "go").touch()
    asked = ours.until(ASKED)
    assert "wants to execute" in asked
    assert len(asked.strip().splitlines()) == 3  # nothing else is on the screen
    ours.type("y\n")
    ours.until(lambda _: (home / "done").exists())
    ours.until(lambda text: text == before)
    assert ours.settled() == before
    assert (ours.screen.cursor.x, ours.screen.cursor.y) == cursor
    assert (home / "done").read_text() == "ran"


def test_lines_stay_lines(window, home):
    """A program that writes lines has them where they were, and the question above what follows."""
    (home / "start").write_text("python3 later.py &\necho before\nread answer\necho got $answer\n")
    ours = window(*supervised("sh", "start"))
    ours.until("before")
    (home / "go").touch()
    ours.until(ASKED)
    ours.type("n\n")
    ours.until(lambda _: (home / "done").exists())
    ours.type("this\n")
    ours.until("(?s)before.*allow it.* n\n.*this\ngot this")
    assert ours.end() == 0
    assert (home / "done").read_text() == "refused"


def test_what_is_typed_before_the_question_can_be_read(window, home):
    """Keys for the program, also those that come while the question appears, are no answer."""
    ours = _begun(window, home, "vim", under=True)
    (home / "go").touch()
    ours.until("wants to execute")
    ours.type("y\n" * 3)
    ours.until(ASKED)
    ours.type("n\n")
    ours.until(lambda _: (home / "done").exists())
    assert (home / "done").read_text() == "refused"


def test_an_interrupt_at_a_question(window, home):
    """Ctrl-C refuses, and reaches the program as a key of its own terminal."""
    script = "import signal, time\nsignal.signal(2, lambda *_: print('interrupted', flush=True))\n"
    (home / "own.py").write_text(script + "print('here', flush=True)\nwhile True: time.sleep(1)\n")
    (home / "start").write_text("python3 later.py &\nexec python3 own.py\n")
    ours = window(*supervised("sh", "start"))
    ours.until("here")
    (home / "go").touch()
    ours.until(ASKED)
    ours.type("\x03")
    ours.until("(?s)interrupte\n?d")


def test_ctrl_c(shell, line):
    """The program is ended by it, and the shell learns so."""
    shell.type(line("sh", "-c", "echo here; cat") + "; echo status=$?\n")
    shell.until("(?m)^here$")
    shell.settled()  # a shell's child has its handler until it has executed something
    shell.type("\x03")
    shell.until("status=130")


@pytest.mark.parametrize("name", ["vim", "less"])
def test_ctrl_z_and_fg(shell, name, line):
    """The shell has its prompt and its terminal back; `fg` goes on, and the screen is as it was."""
    program, typed, there = PROGRAMS[name]
    shell.type("stty -g > before; clear\n")
    shell.settled()
    shell.type(line("sh", "-c", f"exec {program}") + "\n")
    shell.until("(?m)^line 3 of it")
    shell.settled()
    shell.type(typed + ("\x1b" if name == "vim" else ""))
    shell.until(there)
    shell.settled()
    before = shell.screen.display[:-1]  # and what is below is said once
    for turn in range(2):
        shell.type("\x1a")
        stops = 2 * turn + 1
        shell.until(lambda text, stops=stops: text.count("Stopped") == stops)
        shell.type(f"stty -g | cmp - before && echo the same {turn}; jobs\n")
        shell.until(rf"(?s)the same {turn}\n.*\[1\]\+ +Stopped")
        shell.type("fg\n")
        shell.until(there)
        shell.settled()
        assert shell.screen.display[:-1] == before
    shell.type("\x1b:q!\n" if name == "vim" else "q")
    shell.until(r"\$ *\Z")
    shell.type("stty -g | cmp - before && echo all the same\n")
    shell.until("(?m)^all the same")


def test_bg_and_fg(shell, line):
    """In the background it goes on; what reads there is stopped, and `fg` gives it the keys."""
    shell.type(line("sh", "-c", "echo here; cat") + "\n")
    shell.until("(?m)^here$")
    shell.settled()  # a program that is being executed is not stopped until it is
    shell.type("\x1a")
    shell.until("Stopped")
    shell.type("set -b; clear\n")
    shell.settled()
    shell.type("bg\n")
    shell.until(r"Stopped")
    shell.type("fg\n")
    shell.settled()
    shell.type("back\n")
    shell.until("(?m)^back\nback$")
    shell.type("\x04")
    shell.until(r"\$ *\Z")


def test_started_in_the_background(shell, line):
    """It writes; it is stopped where it reads; `fg` gives it the keyboard."""
    shell.type("set -b; clear\n")
    shell.settled()
    shell.type(line("sh", "-c", "echo written; head -n1") + " &\n")
    shell.until("(?m)written$")
    shell.until("Stopped")
    shell.type("fg\n")
    shell.settled()
    shell.type("typed\n")
    shell.until("(?m)^typed\ntyped$")


def test_a_change_of_the_window(window, home):
    """SIGWINCH reaches who is in front, once, with the new size."""
    script = (
        "import os, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n"
        "while True:\n    print('now', *os.get_terminal_size(0), flush=True)\n"
        "    signal.sigwait([signal.SIGWINCH])\n"
    )
    (home / "own.py").write_text(script)
    ours = window(*supervised("python3", "own.py"))
    ours.until("now 80 24")
    ours.resize(30, 77)
    ours.until("now 77 30")
    assert ours.settled().count("now") == 2


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("echo piped |", "", "(?m)^piped$"),
        ("", "< text | head -n2", "(?m)^line 1 of it$"),
        ("", "| head -n1", "(?m)^typed$"),  # reads the terminal, and writes into a pipe
        ("", "> out; cat out", "(?m)^typed$"),
    ],
)
def test_pipes_and_files(shell, before, after, shown, line):
    """What is a pipe or a file stays that; what is the terminal can be read."""
    shell.type(f"clear; {before} {line('cat')} {after}; echo end $?\n")
    if "typed" in shown:
        shell.until_raw()  # the program asks for a key
        shell.type("typed\n\x04")
    shell.until(r"(?s)\n?end \d")
    assert re.search(shown, shell.shown())


def test_a_pager_behind_it(shell, line):
    """In a pipeline the pager has the keys, and the terminal in its own way."""
    shell.type("clear\n")
    shell.settled()
    shell.type(line("cat", "text") + " | less\n")
    shell.until("(?m)^line 3 of it$")
    shell.settled()
    shell.type("10j")
    shell.until("(?m)^line 32 of it$")
    shell.type("q")
    shell.until(r"\$ *\Z")


def test_descriptors(window, home, line):
    """All that was the terminal is the new one, beyond 2 as well; a file stays the file."""
    (home / "own.py").write_text(
        "import os\n"
        "for fd in (0, 1, 2, 5, 6, 7):\n"
        "    print(fd, os.path.samestat(os.stat(0), os.fstat(fd)))\n"
        "print('own', os.ttyname(0) == open('real').read().strip())\n"
    )
    (home / "outer").write_text(
        f"tty > real\nexec {line('python3', 'own.py')} 5<>/dev/tty 6>&1 7<text\n"
    )
    ours = window("sh", "outer")
    assert ours.end() == 0
    shown = ours.shown().split("\n")
    assert shown == ["0 True", "1 True", "2 True", "5 True", "6 True", "7 False", "own False"]


def test_the_end_of_the_output_is_shown(window):
    """A command that writes much and ends has written it all."""
    ours = window(*supervised("seq", "20000"))
    assert ours.end() == 0
    assert ours.shown().endswith("19999\n20000")
    assert ours.raw.count(b"\n") == 20000


def test_a_window_that_is_closed(window, home):
    """The command hears of it, and so does what it has started at its terminal."""
    ours = window(*supervised("sh", "-c", "sleep 1000 & echo all=$$,$!, here; wait"))
    ends = [os.pidfd_open(int(one)) for one in re.findall(r"\d+", ours.until("(?m), here$"))[-2:]]
    try:
        os.close(ours.fd)
        ours.fd = -1
        for end in ends:
            assert select.select([end], [], [], 20)[0]
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("option", [[], ["--pty"]])
def test_pty(window, home, option):
    """--pty gives a terminal of its own to any command; without a rule that asks it has ours."""
    words = [sys.executable, "-m", "notifyd", "run", "-q", *option, "--rules", "no-network", "--"]
    (home / "outer").write_text(f"tty; exec {shlex.join(words)} tty\n")
    ours = window("sh", "outer")
    assert ours.end() == 0
    first, second = ours.shown().split("\n")
    assert (first != second) is bool(option)


@pytest.mark.parametrize(
    "output",
    ["]0;", "P", "[", "[24;24r\\033[24H", "[24;24r\\033[?6h", "[4h"],
)
def test_output_that_would_hide_the_question(window, home, output):
    """A title that does not end, margins of one line: the question is there all the same."""
    (home / "start").write_text(f"printf '\\033{output}'\nexec python3 later.py\n")
    (home / "go").touch()
    ours = window(*supervised("sh", "start"))
    asked = ours.until(ASKED)
    lines = asked.split("\n")[-3:]
    assert re.match(r"notifyd: \S+ wants to execute .*/program: \./program$", lines[0]), asked
    assert re.match(r"notifyd:   \S+ \(pid", lines[1]), asked
    ours.type("n\n")
    assert ours.end() == 0


def test_notifyd_is_killed(window):
    """Nothing of it is left at a terminal that nobody shows."""
    ours = window(*supervised("sh", "-c", "echo pid $$; cat"))
    found = re.search(r"pid (\d+)", ours.until(r"pid \d+"))
    end = os.pidfd_open(int(found[1]))
    try:
        os.kill(ours.pid, 9)
        assert select.select([end], [], [], 20)[0]
    finally:
        os.close(end)
