"""Conditions: the test in Python and the test in the kernel's filter say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.policy.conditions import (
    NOTHING,
    AnyBit,
    Between,
    Bits,
    NoneOf,
    OneOf,
    as_condition,
    between,
    cut,
    has,
    has_any,
    is_not,
    lacks,
)

NUMBERS = st.integers(0, 0xFFFF_FFFF) | st.integers(0, 0xFF)
SOME = st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)
CONDITIONS = st.one_of(
    SOME.map(OneOf),
    SOME.map(NoneOf),
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: Between(min(pair), max(pair))),
    NUMBERS.map(has),
    NUMBERS.map(has_any),
    NUMBERS.map(lacks),
)


def by_filter(condition, value: int) -> bool:
    """What the cubes of a condition on argument 2 say of `value` there."""
    cubes = condition.cubes(2, 32)
    return any(all(value & one.mask == one.value for one in cube if one.arg == 2) for cube in cubes)


@given(CONDITIONS, NUMBERS)
def test_the_filter_says_what_python_says(condition, value):
    """One condition, two places where it is tested."""
    assert by_filter(condition, value) == condition.holds(value)


@given(SOME, NUMBERS)
def test_the_values_themselves(values, value):
    """Near the values that are named, where a random number seldom falls."""
    for near in (*values, *(one ^ 1 for one in values)):
        assert by_filter(OneOf(values), near) == (near in values)
        assert by_filter(NoneOf(values), near) == (near not in values)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(-1, 1))
def test_the_edges_of_a_range(low, size, off):
    """Both ends belong to it."""
    for edge in (low + off, low + size + off):
        value = edge & 0xFFFF_FFFF
        assert by_filter(between(low, low + size), value) == (low <= value <= low + size)


@pytest.mark.parametrize(
    ("given_", "condition"),
    [
        (5, OneOf((5,))),
        (True, OneOf((1,))),
        ({7}, OneOf((7,))),
        ([1, 2], OneOf((1, 2))),
        (range(3, 6), Between(3, 5)),
        (range(0, 6, 2), OneOf((0, 2, 4))),
        (has(6), Bits(6, 6)),
        (lacks(6), Bits(6, 0)),
        (has_any(6), AnyBit(6)),
        (is_not(1, 2), NoneOf((1, 2))),
        (between(1, 2), Between(1, 2)),
    ],
)
def test_what_an_author_may_write(given_, condition):
    """Numbers, collections, ranges and the named conditions."""
    assert as_condition(given_) == condition


@pytest.mark.parametrize("nonsense", ["5", b"5", None, 1.5, [], range(0), ["a"], object()])
def test_nonsense_is_no_condition(nonsense):
    """What is none of these is turned down by the caller, with the field's name."""
    assert as_condition(nonsense) is None


def test_negative_numbers_mean_what_c_means():
    """-1 in 32 bits is 0xFFFFFFFF, and in 16 bits 0xFFFF."""
    assert cut(OneOf((-1, 5)), 32) == OneOf((0xFFFF_FFFF, 5))
    assert cut(is_not(-1), 16) == NoneOf((0xFFFF,))
    assert cut(has(4), 32) == has(4)


def test_no_bits():
    """All of no bits are set, and none of them; at least one of none is not."""
    for value in (0, 1, 0xFFFF_FFFF):
        assert has(0).holds(value) is by_filter(has(0), value) is True
        assert lacks(0).holds(value) is by_filter(lacks(0), value) is True
        assert has_any(0).holds(value) is by_filter(has_any(0), value) is False


def test_all_bits_but_some():
    """The complement of some flags is a negative number, and means the field's other bits."""
    assert cut(lacks(~3), 32) == lacks(0xFFFF_FFFC)
    assert cut(has(~3), 16) == has(0xFFFC)
    assert cut(has_any(~0), 8) == has_any(0xFF)
    assert by_filter(cut(lacks(~3), 32), 2) is True
    assert by_filter(cut(lacks(~3), 32), 4) is False


def test_bits_beyond_the_width():
    """They are never set: what wants one holds for nothing, and what wants none of them always."""
    assert cut(has(1 << 32 | 1), 32) == cut(has_any(1 << 32), 32) == NOTHING
    assert cut(has_any(1 << 32 | 1), 32) == has_any(1)
    assert cut(lacks(1 << 32 | 1), 32) == lacks(1)
    assert by_filter(NOTHING, 0) is NOTHING.holds(0) is False
