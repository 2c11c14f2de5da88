"""Cubes against brute force, on 8-bit arguments where every value can be tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.bpf import cubes as c
from notifyd.bpf.profile import Masked

BYTES = range(256)
HOSTILE = 0xDEAD_BEEF_0000_0000  # what a caller may leave in the high half of an int


def masked(arg):
    return st.tuples(st.integers(1, 15), st.integers(0, 15)).map(
        lambda both: Masked(arg, both[0], both[0] & both[1])
    )


CUBES = st.tuples(st.none() | masked(0), st.none() | masked(1)).map(
    lambda parts: tuple(part for part in parts if part)
)
POINTS = [(x, y, 0, 0, 0, 0) for x in range(16) for y in range(16)]


def holds(cube, args):
    return all(one.holds(args) for one in cube)


def held_by(cubes, args):
    return sum(holds(cube, args) for cube in cubes)


def members(cubes):
    """The bytes that argument 0 may be; fails where cubes are not disjoint."""
    counts = {value: held_by(cubes, (value, 0, 0, 0, 0, 0)) for value in BYTES}
    assert set(counts.values()) <= {0, 1}
    return {value for value, count in counts.items() if count}


@given(CUBES, CUBES)
def test_overlap_is_where_both_hold(a, b):
    """The overlap holds exactly where both do, and None means nowhere."""
    both = c.overlap(a, b)
    for args in POINTS:
        assert (both is not None and holds(both, args)) == (holds(a, args) and holds(b, args))


@given(CUBES, CUBES)
def test_subtract_leaves_what_only_the_first_holds(a, b):
    """Every point of the difference is in exactly one piece, and no other point in any."""
    pieces = c.subtract(a, b)
    for args in POINTS:
        assert held_by(pieces, args) == (holds(a, args) and not holds(b, args))
    for piece in pieces:
        assert [one.arg for one in piece] == sorted({one.arg for one in piece})


@given(st.lists(CUBES, max_size=3), st.lists(CUBES, max_size=3))
def test_both_is_where_one_of_each_holds(a, b):
    """Two unions of cubes meet where some cube of each holds."""
    met = c.both(a, b)
    for args in POINTS:
        wanted = held_by(a, args) > 0 and held_by(b, args) > 0
        assert (held_by(met, args) > 0) == wanted


@given(st.sets(st.integers(0, 255)))
def test_one_of_and_none_of_part_the_numbers(values):
    """Each number is in exactly one of the two, each once."""
    assert members(c.one_of(0, 8, values)) == values
    assert members(c.none_of(0, 8, values)) == set(BYTES) - values


@given(st.integers(0, 255), st.integers(0, 255))
def test_between_has_both_ends(lo, hi):
    """A range holds its ends, and is empty the wrong way round."""
    assert members(c.between(0, 8, lo, hi)) == {v for v in BYTES if lo <= v <= hi}


@given(st.integers(0, 255))
def test_bits_all_any_none(bits):
    """The three questions about bits, no bits included."""
    assert members(c.has_all(0, bits)) == {v for v in BYTES if v & bits == bits}
    assert members(c.has_any(0, bits)) == {v for v in BYTES if v & bits}
    assert members(c.has_none(0, bits)) == {v for v in BYTES if not v & bits}


@pytest.mark.parametrize(
    "made",
    [
        c.equal(0, 32, 5),
        c.one_of(0, 32, [5, 6, 12]),
        c.none_of(0, 32, [4, 7]),
        c.between(0, 32, 3, 9),
        c.has_all(0, 4),
        c.has_any(0, 6),
        c.has_none(0, 8),
    ],
)
def test_the_high_half_of_an_int_is_not_looked_at(made):
    """What a hostile caller leaves above the argument's width changes nothing."""
    assert held_by(made, (5, 0, 0, 0, 0, 0)) == 1
    assert held_by(made, (HOSTILE | 5, 0, 0, 0, 0, 0)) == 1


def test_a_negative_value_is_two_s_complement():
    """AT_FDCWD is -100, and an int argument shows it as 32 bits."""
    assert c.equal(0, 32, -100) == ((Masked(0, 0xFFFFFFFF, 0xFFFFFF9C),),)


def test_values_that_differ_in_one_bit_share_a_cube():
    """AF_INET and AF_INET6 are one test, not two."""
    assert c.one_of(0, 32, [2, 10]) == ((Masked(0, 0xFFFFFFF7, 2),),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: c.equal(0, 12, 1),
        lambda: c.equal(0, 8, 256),
        lambda: c.equal(0, 8, -129),
        lambda: c.one_of(0, 32, [1 << 32]),
        lambda: c.between(0, 32, -1, 5),
        lambda: c.between(0, 16, 0, 1 << 16),
    ],
)
def test_what_does_not_fit_is_refused(make):
    """A value that the argument can never have is a mistake, not a condition."""
    with pytest.raises(ValueError, match="bit"):
        make()
