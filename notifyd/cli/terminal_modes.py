"""How a terminal is set while it is read for an answer: nothing of that is left as it was found.

A process that has a terminal open can change its settings, and so what a typed line becomes: with
another key that deletes the line, `no 10m` arrives as `10m`.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["by_lines", "lines", "read_line"]

_MAX_LINE_BYTES = 4096  # bytes of a line; n_tty keeps no longer one
_OFF = b"\0"  # _POSIX_VDISABLE
_IUTF8 = 0o40000  # a character is deleted whole
_ERASE = (b"\x7f", b"\x08")  # what backspace keys send
_KEYS = {
    termios.VINTR: b"\x03",
    termios.VQUIT: b"\x1c",
    termios.VKILL: b"\x15",
    termios.VEOF: b"\x04",
}


def by_lines(found: list[Any]) -> list[Any]:
    """Whole lines, shown as they are typed; Ctrl-U, Ctrl-D and Ctrl-C as everywhere, no Ctrl-Z.

    Args:
        found: `termios.tcgetattr`; only what the line's hardware needs is taken from it, and which
            of the two usual keys deletes a character.
    """
    local = termios.ICANON | termios.ISIG | termios.ECHO | termios.ECHOE | termios.ECHOK
    local |= termios.ECHOCTL | termios.ECHOKE
    control, (incoming, outgoing), before = found[2], found[4:6], found[6]
    characters: list[Any] = [_OFF] * len(before)
    for key, character in _KEYS.items():
        characters[key] = character
    characters[termios.VERASE] = (
        before[termios.VERASE] if before[termios.VERASE] in _ERASE else _ERASE[0]
    )
    entering = termios.ICRNL | termios.BRKINT | found[0] & _IUTF8
    leaving = termios.OPOST | termios.ONLCR
    return [entering, leaving, control, local, incoming, outgoing, characters]


@contextmanager
def lines(fd: int) -> Iterator[None]:
    """Have a terminal read by lines, however it was set; afterwards it is as before."""
    found = termios.tcgetattr(fd)
    termios.tcsetattr(fd, termios.TCSADRAIN, by_lines(found))
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, found)


def read_line(fd: int) -> str | None:
    """A line without its end; None for Ctrl-D, whatever was typed before it, and at a hangup.

    Only Enter ends an answer: Ctrl-D after `y` gives up, and does not say yes.
    """
    data = os.read(fd, _MAX_LINE_BYTES)
    return data.decode("utf-8", "replace")[:-1] if data.endswith(b"\n") else None
