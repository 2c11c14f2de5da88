"""Set algebra on cubes: the conditions that one libseccomp rule can hold.

Owns cutting cubes out of one another and making them from what people write. A maker for an
argument of `width` bits never looks above them: the kernel drops the high half of an int argument,
and a hostile caller fills it. Every maker returns cubes that are disjoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notifyd.bpf.profile import Cube, Masked

__all__ = [
    "between",
    "both",
    "cut",
    "equal",
    "has_all",
    "has_any",
    "has_none",
    "none_of",
    "one_of",
    "overlap",
    "subtract",
]


def overlap(a: Cube, b: Cube) -> Cube | None:
    """The cube of what both hold for, or None where that is nothing."""
    if not a or not b:
        return a or b
    merged = {masked.arg: masked for masked in a}
    for theirs in b:
        ours = merged.get(theirs.arg)
        if ours is None:
            merged[theirs.arg] = theirs
            continue
        if (ours.value ^ theirs.value) & ours.mask & theirs.mask:
            return None
        merged[theirs.arg] = Masked(theirs.arg, ours.mask | theirs.mask, ours.value | theirs.value)
    return tuple(merged[arg] for arg in sorted(merged))


def cut(cubes: Iterable[Cube], bits: int) -> tuple[Cube, ...]:
    """The cubes as they are where an argument has so many bits, and none above them is ever set."""
    full = (1 << bits) - 1
    return tuple(
        tuple(Masked(one.arg, one.mask & full, one.value) for one in cube if one.mask & full)
        for cube in cubes
        if all(one.value <= full for one in cube)
    )


def subtract(a: Cube, b: Cube) -> tuple[Cube, ...]:
    """What `a` holds for and `b` does not, as disjoint cubes.

    One cube for every bit that `b` tests and `a` leaves open; `a` alone if they are disjoint.
    """
    if overlap(a, b) is None:
        return (a,)
    return tuple(_pieces(a, b))


def _pieces(a: Cube, b: Cube) -> Iterator[Cube]:
    """Cut along each bit of `b` in turn: this bit differs, and all the bits before it agree."""
    agreed = {masked.arg: masked for masked in a}
    for theirs in b:
        ours = agreed.get(theirs.arg)
        mask, value = (ours.mask, ours.value) if ours else (0, 0)
        for bit in _bits(theirs.mask & ~mask):
            mask |= bit
            differs = Masked(theirs.arg, mask, value | (~theirs.value & bit))
            cut = agreed | {theirs.arg: differs}
            yield tuple(cut[arg] for arg in sorted(cut))
            value |= theirs.value & bit
            agreed[theirs.arg] = Masked(theirs.arg, mask, value)


def both(a: Iterable[Cube], b: Iterable[Cube]) -> tuple[Cube, ...]:
    """What some cube of `a` and some cube of `b` hold for; disjoint if `a` and `b` are."""
    others = tuple(b)
    met = (overlap(one, other) for one in a for other in others)
    return tuple(cube for cube in met if cube is not None)


def equal(arg: int, width: int, v: int) -> tuple[Cube, ...]:
    """Argument `arg`, of `width` bits, is `v`; a negative `v` is meant as two's complement.

    Raises:
        ValueError: `v` does not fit into `width` bits, or `width` is not 8, 16, 32 or 64.
    """
    return ((Masked(arg, _ones(width), _fit(width, v)),),)


def one_of(arg: int, width: int, values: Iterable[int]) -> tuple[Cube, ...]:
    """The argument is one of `values`. Values that differ in one bit share a cube."""
    wanted = {(_ones(width), _fit(width, value)) for value in values}
    return tuple((Masked(arg, mask, value),) for mask, value in sorted(_merge(wanted)) if mask) or (
        ((),) if wanted else ()
    )


def none_of(arg: int, width: int, values: Iterable[int]) -> tuple[Cube, ...]:
    """The argument is not in `values`."""
    left: tuple[Cube, ...] = ((),)
    for unwanted in one_of(arg, width, values):
        left = tuple(piece for cube in left for piece in subtract(cube, unwanted))
    return left


def between(arg: int, width: int, lo: int, hi: int) -> tuple[Cube, ...]:
    """`lo <= argument <= hi`, unsigned, as aligned blocks, the way routes are written.

    Raises:
        ValueError: `lo` or `hi` is negative or does not fit into `width` bits.
    """
    ones = _ones(width)
    if not 0 <= lo <= ones or not 0 <= hi <= ones:
        raise ValueError(f"{lo} to {hi} is not a range of unsigned {width}-bit numbers")
    cubes: list[Cube] = []
    while lo <= hi:
        size = (lo & -lo) or ones + 1
        while lo + size - 1 > hi:
            size >>= 1
        mask = ones & ~(size - 1)
        cubes.append((Masked(arg, mask, lo),) if mask else ())
        lo += size
    return tuple(cubes)


def has_all(arg: int, bits: int) -> tuple[Cube, ...]:
    """Every one of `bits` is set. No bits: always."""
    return ((Masked(arg, bits, bits),),) if bits else ((),)


def has_any(arg: int, bits: int) -> tuple[Cube, ...]:
    """At least one of `bits` is set. No bits: never."""
    return tuple(subtract((), (Masked(arg, bits, 0),))) if bits else ()


def has_none(arg: int, bits: int) -> tuple[Cube, ...]:
    """None of `bits` is set. No bits: always."""
    return ((Masked(arg, bits, 0),),) if bits else ((),)


def _merge(found: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Join pairs (mask, value) that differ in one bit of the value, until none do."""
    left = sorted(found)
    done: set[tuple[int, int]] = set(left)
    while left:
        mask, value = left.pop()
        if (mask, value) not in done:
            continue
        for bit in _bits(mask):
            if (mask, value ^ bit) in done:
                done -= {(mask, value), (mask, value ^ bit)}
                joined = (mask & ~bit, value & ~bit)
                done.add(joined)
                left.append(joined)
                break
    return done


def _bits(mask: int) -> Iterator[int]:
    """The single bits of a mask, lowest first."""
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit


def _ones(width: int) -> int:
    if width not in (8, 16, 32, 64):
        raise ValueError(f"an argument has 8, 16, 32 or 64 bits, not {width}")
    return (1 << width) - 1


def _fit(width: int, value: int) -> int:
    ones = _ones(width)
    if not -(ones + 1) // 2 <= value <= ones:
        raise ValueError(f"{value} does not fit into {width} bits")
    return value & ones
