"""Following what a program makes of the screen, from its bytes alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.launch.screen import Screen


def _fed(*pieces: bytes) -> Screen:
    screen = Screen()
    for piece in pieces:
        screen.feed(piece)
    return screen


@pytest.mark.parametrize(
    ("output", "alternate"),
    [
        (b"lines\r\n", False),
        (b"\x1b[?1049h\x1b[22;0;0t", True),
        (b"\x1b[?1049h...\x1b[?1049l", False),
        (b"\x1b[?1;1049h", True),
        (b"\x1b[?47h\x1b[?1047l", False),
        (b"\x1b[?1049h\x1bc", False),
        (b"\x1b[?1049$p", False),  # asks
        (b"[?1049h", False),
    ],
)
def test_the_alternate_screen(output, alternate):
    """Three numbers lead there and back, and a full reset."""
    assert _fed(output).alternate is alternate


@given(st.lists(st.sampled_from([b"\x1b[?1049h", b"\x1b[?25l", b"x\r\n", b"\x1b[3;9r", b"\x1b"])))
def test_pieces_make_no_difference(output):
    """However the output is cut, it means the same."""
    whole = b"".join(output)
    cut = _fed(*(whole[at : at + 1] for at in range(len(whole))))
    assert cut.aside(lines=False) == _fed(whole).aside(lines=False)
    assert cut.aside(lines=True) == _fed(whole).aside(lines=True)


def test_what_is_put_back():
    """The cursor, the margins, and reports of mouse and paste are as before."""
    aside = _fed(b"\x1b[?25l\x1b[2;20r\x1b[?1000;2004h").aside(lines=False)
    assert b"\x1b[?1000l\x1b[?2004l" in aside.before
    assert aside.after == b"\x1b[2;20r\x1b[?1049l\x1b[?1000h\x1b[?2004h\x1b[?25l"
    assert (aside.redraw, aside.paints) == (False, True)


def test_on_the_alternate_screen_it_is_drawn_anew():
    """There is no third screen."""
    aside = _fed(b"\x1b[?1049h").aside(lines=True)
    assert b"1049" not in aside.before + aside.after
    assert aside.redraw


def test_without_an_alternate_screen():
    """What is on the only screen is drawn anew; a terminal without sequences gets none."""
    assert Screen().aside(lines=False, second=False).redraw
    plain = Screen().aside(lines=True, plain=True)
    assert plain.before + plain.after == b""


@given(st.binary(max_size=200))
def test_any_output(output):
    """Nothing raises, and what is kept of it is small."""
    screen = _fed(output, output)
    assert len(screen._rest) < 70
