"""The state of a screen, as far as a program's output shows it, and taking it over for a while.

Bytes only: no terminal is touched. Sequences are those of xterm, which all others imitate.
Source: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Screen", "ScreenSwitch"]

_TOLD = re.compile(rb"\x1b\[(?:\?([0-9;]{1,60})([hl])|([0-9]{0,5};?[0-9]{0,5})r)|\x1bc")
_CUT = re.compile(rb"\x1b(\[\??[0-9;]{0,60})?\Z")  # a sequence that continues in the next piece
_CURSOR = b"25"
_ALTERNATE = frozenset({b"47", b"1047", b"1049"})
_REPORTS = frozenset({b"9", b"1000", b"1002", b"1003", b"1004", b"2004"})  # mouse, focus, paste

# What a program has half said is over (ST; not CAN, which some show), and what would hide or move
# our words is off: margins (which moves the cursor), insertion, no wrapping, characters, colours.
_OVER, _SAVE, _BACK = b"\x1b\\", b"\x1b7", b"\x1b8"
_WHOLE = b"\x1b[?69l\x1b[r"
_READABLE = b"\x1b[4l\x1b[?7h\x0f\x1b(B\x1b[0m"
_CLEAR = b"\x1b[H\x1b[2J"


@dataclass(frozen=True, slots=True)
class ScreenSwitch:
    """How to take a screen over, and how to give it back.

    Attributes:
        before: the bytes to begin with.
        after: those to end with.
        redraw: whether the program then has to redraw everything.
        paints: whether the program paints the screen, and does not just write lines.
    """

    before: bytes = b""
    after: bytes = b""
    redraw: bool = False
    paints: bool = False


class Screen:
    """Follows the output of a program. `feed` is called with all of it, in pieces as they come."""

    def __init__(self) -> None:
        self._on = set[bytes]()
        self._hidden = False
        self._margins = b""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece of output."""
        text = self._rest + data if self._rest else data
        if b"\x1b" not in text:
            self._rest = b""
            return
        for found in _TOLD.finditer(text):
            modes, letter, margins = found.groups()
            if margins is not None:
                self._margins = margins.strip(b";")
            elif modes is None:  # a full reset
                self._on.clear()
                self._hidden, self._margins = False, b""
            for mode in modes.split(b";") if modes else ():
                self._set(mode, letter == b"h")
        cut = _CUT.search(text)
        self._rest = cut[0] if cut else b""

    def _set(self, mode: bytes, on: bool) -> None:
        if mode == _CURSOR:
            self._hidden = not on
        elif mode not in _ALTERNATE | _REPORTS:
            return
        elif on:
            self._on.add(mode)
        else:
            # All three lead back to the one normal screen.
            self._on -= _ALTERNATE if mode in _ALTERNATE else {mode}

    @property
    def alternate(self) -> bool:
        """Whether the program is on the alternate screen, which there is but one of."""
        return bool(self._on & _ALTERNATE)

    def aside(self, *, lines: bool, plain: bool = False, second: bool = True) -> ScreenSwitch:
        """How to say something that is not the program's.

        Args:
            lines: whether the program lets the terminal read by lines, and shows lines itself.
            plain: whether the terminal knows no sequences at all.
            second: whether it has an alternate screen.
        """
        if plain:
            return ScreenSwitch(redraw=not lines)
        margins = b"\x1b[" + self._margins + b"r" if self._margins else b""
        if lines and not self.alternate:
            after = _SAVE + margins + _BACK if margins else b""
            return ScreenSwitch(_OVER + _SAVE + _WHOLE + _BACK + _READABLE, after)
        off, on = b"".join(self._modes(b"l")), b"".join(self._modes(b"h"))
        ours = _WHOLE + _READABLE + off + b"\x1b[?25h" + _CLEAR
        theirs = on + (b"\x1b[?25l" if self._hidden else b"")
        if self.alternate or not second:
            after = margins + _CLEAR + _BACK + theirs
            return ScreenSwitch(_OVER + _SAVE + ours, after, redraw=True, paints=True)
        # 1049 keeps the cursor of the normal screen, too. Margins are both screens'.
        before, after = _OVER + b"\x1b[?1049h" + ours, margins + b"\x1b[?1049l" + theirs
        return ScreenSwitch(before, after, paints=True)

    def _modes(self, letter: bytes) -> Iterator[bytes]:
        for mode in sorted(self._on & _REPORTS):
            yield b"\x1b[?" + mode + letter
