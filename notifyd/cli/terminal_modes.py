"""How a terminal is set while it is read for an answer: nothing of that is left as it was found.

A process that has a terminal open can change its settings, and so what a typed line becomes: with
another key that deletes the line, `no 10m` arrives as `10m`.
"""

from __future__ import annotations

import termios
from typing import Any

__all__ = ["by_keys", "by_lines"]

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
    return _settings(found, local)


def by_keys(found: list[Any]) -> list[Any]:
    """Single keys, at once and unseen; Ctrl-C ends as everywhere."""
    return _settings(found, termios.ISIG)


def _settings(found: list[Any], local: int) -> list[Any]:
    control, (incoming, outgoing), before = found[2], found[4:6], found[6]
    characters: list[Any] = [_OFF] * len(before)
    for key, character in _KEYS.items():
        characters[key] = character
    characters[termios.VERASE] = (
        before[termios.VERASE] if before[termios.VERASE] in _ERASE else _ERASE[0]
    )
    if not local & termios.ICANON:  # the same places of the table mean numbers then
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    entering = termios.ICRNL | termios.BRKINT | found[0] & _IUTF8
    leaving = termios.OPOST | termios.ONLCR
    return [entering, leaving, control, local, incoming, outgoing, characters]
