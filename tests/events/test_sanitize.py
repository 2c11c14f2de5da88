import json
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.events.sanitize import (
    MAX_TEXT_BYTES,
    cut,
    fields_to_json,
    json_line,
    printable,
    to_json,
    whole,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
HOSTILE = "\x1b[31mred\x1b[0m\r\n\x00\x7f\x9b2J\u202egnp.exe\u2028\u200f\U000e0041\ufeff"


def test_cut_says_how_much():
    """A text above the limit is cut between characters and says what is missing."""
    assert cut("a" * MAX_TEXT_BYTES) == "a" * MAX_TEXT_BYTES
    assert cut("é" * 25, limit=45) == "éé… (46 more bytes)"
    long = cut("x" * 1_000_000)
    assert len(long.encode()) <= MAX_TEXT_BYTES
    assert cut(long) == long


@given(ANY_TEXT)
def test_whole_is_utf8(text):
    """Every text becomes one that UTF-8 can say, and a whole one stays as it is."""
    shown = whole(text)
    assert shown.encode("utf-8").decode() == shown
    if not any(unicodedata.category(c) == "Cs" for c in text):
        assert shown == text


def test_whole_shows_bytes():
    """A byte that Python smuggled through a text shows as a byte."""
    assert whole("a\udcff") == "a\\xff"
    assert whole("\ud800") == "\\ud800"


@given(ANY_TEXT | st.just(HOSTILE))
def test_printable_moves_nothing(text):
    """What goes to a terminal has no control, format or surrogate character."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 160 * 10 + 40
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_printable_shows_what_it_was():
    """Escapes name the character; long texts say how much is missing."""
    assert printable("a\x1b\u202eb\U000e0041") == "a\\x1b\\u202eb\\U000e0041"
    assert printable("x" * 200, limit=3) == "xxx… (197 more)"


@given(st.text())
def test_json_line_keeps_meaning(text):
    """Escaping a line of JSON leaves what it says."""
    line = json.dumps(text, ensure_ascii=False).encode()
    assert json.loads(json_line(line)) == text
    assert json_line(line).decode().isprintable()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"a\xffb", "a\\xffb"),
        (PurePosixPath("/tmp/\udcff"), "/tmp/\\xff"),
        (True, True),
        (1 << 70, hex(1 << 70)),
        (float("nan"), "nan"),
        ((1, b"x", None), [1, "x", None]),
        ({"a": None, b"b": {2}}, {"b": [2]}),
    ],
)
def test_tidy(value, plain):
    """Whatever a field holds has a form in JSON."""
    assert to_json(value) == plain


def test_tidy_is_bounded():
    """Deep and wide values end; an object that cannot be shown does no harm."""

    class Bad:
        def __str__(self):
            raise RuntimeError("no")

    deep = []
    for _ in range(5000):
        deep = [deep]
    assert "…" in json.dumps(to_json(deep), ensure_ascii=False)
    assert to_json(list(range(1000)))[-1] == "(and 745 more)"
    assert fields_to_json({str(n): n for n in range(1000)})["…"] == "(745 more)"
    assert to_json(10**6000) == hex(10**6000)  # str() refuses such a number
    assert to_json(Bad()) == "(Bad: RuntimeError)"
