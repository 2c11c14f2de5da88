"""A terminal is read as we know it, whatever somebody has made of it."""

import os
import termios

import pytest

from notifyd.cli.terminal_modes import by_lines, lines, read_line

MEAN = {
    "another key deletes the line": (termios.VKILL, b" "),
    "another key deletes a character": (termios.VERASE, b"o"),
    "another key ends the file": (termios.VEOF, b"n"),
    "another key ends the line": (termios.VEOL, b"y"),
    "another key quotes": (termios.VLNEXT, b"n"),
    "another key deletes a word": (termios.VWERASE, b"o"),
}


@pytest.fixture
def terminal():
    """A pseudo-terminal; its master and its slave."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("name", sorted(MEAN))
def test_a_line_is_what_was_typed(terminal, name):
    """`no 10m` arrives so, whichever key was given another meaning, whatever mode was off."""
    master, slave = terminal
    key, character = MEAN[name]
    found = termios.tcgetattr(slave)
    found[6][key] = character
    found[0] |= termios.IGNCR | termios.ISTRIP | termios.INLCR
    found[3] &= ~(termios.ICANON | termios.ECHO | termios.ECHOK | termios.ECHOKE)
    termios.tcsetattr(slave, termios.TCSANOW, found)
    termios.tcsetattr(slave, termios.TCSANOW, by_lines(termios.tcgetattr(slave)))
    os.write(master, b"no 10m\r")
    assert os.read(slave, 100) == b"no 10m\n"


@pytest.mark.parametrize(
    ("keys", "line"),
    [(b"y\r", "y"), (b"n\x7fy\r", "y"), (b"n\x15\r", ""), (b"\x04", None), (b"y\x04", None)],
)
def test_keys(terminal, keys, line):
    """Enter ends a line; what Ctrl-D ends is none; the terminal is as before."""
    master, slave = terminal
    before = termios.tcgetattr(slave)
    with lines(slave):
        os.write(master, keys)
        assert read_line(slave) == line
    assert termios.tcgetattr(slave) == before
