"""Whether a program does what its profile says, by running it on chosen points.

Owns the choice of the points: one inside each condition and one just outside of it, the numbers
next to those that are named, x32 numbers, and an architecture not in the profile. It is cheap
enough to be done every time; it does not prove the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from notifyd.bpf.ordered import Ordered
from notifyd.bpf.profile import NOTIFY, Action, Cube, Profile, decide
from notifyd.bpf.program import Program
from notifyd.bpf.simulate import Machine
from notifyd.errors import FilterError
from notifyd.kernel.arch import X32_BIT

__all__ = ["ANY", "Compiled", "points", "verify"]

_NO_ARCH = 0  # AUDIT_ARCH_* are never 0: EM_NONE, linux/elf-em.h
# What fills the bits that a condition leaves open; none of them a usual small number.
_FILLS = (0xA5A5_5A5A_C3C3_3C3C, 0xFFFF_FFFF_FFFF_FFFF, 0, 0x5A5A_A5A5_3C3C_C3C3)
ANY = (*_FILLS, 0, 1)
_EDGES = (0, 1, X32_BIT - 1, X32_BIT, X32_BIT | 1, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One entry of a profile as it was compiled: its calls by number."""

    arch: str
    audit: int
    calls: Mapping[int, Ordered]


def verify(program: Program, profile: Profile, entries: Sequence[Compiled]) -> None:
    """Return if the program and the profile agree on every point.

    Raises:
        FilterError: they do not, or the kernel would not take the program.
    """
    machine = Machine(program)
    _agree(machine.run(_NO_ARCH, 0, ANY), profile.unknown_arch, "an unknown architecture")
    for entry in entries:
        for nr, args in points(entry):
            got = machine.run(entry.audit, nr, args)
            call = entry.calls.get(nr)
            if call is None or not call.widened or got != NOTIFY.value:
                where = f"{entry.arch} call {nr}{tuple(args)}"
                _agree(got, decide(profile, entry.arch, nr, args), where)


def _agree(got: int, wanted: Action, where: str) -> None:
    if got != wanted.value:
        raise FilterError(
            f"the compiled filter gives {where} {Action(got)!s} where the profile says {wanted!s}; "
            f"the filter cannot be used: put fewer conditions on this call"
        )


def points(entry: Compiled) -> Iterator[tuple[int, Sequence[int]]]:
    """Numbers and arguments: inside of each condition and outside, and the numbers next to them."""
    seen: set[int] = set()
    for nr, call in entry.calls.items():
        yield nr, ANY
        # Calls with the same clauses share their instructions: once is enough.
        if id(call) not in seen:
            seen.add(id(call))
            for args in _arguments(call):
                yield nr, args
    around = {near & 0xFFFFFFFF for nr in entry.calls for near in (nr - 1, nr + 1)}
    for nr in sorted(around.union(_EDGES) - entry.calls.keys()):
        yield nr, ANY


def _arguments(call: Ordered) -> Iterator[Sequence[int]]:
    cubes = [cube for clause in call.clauses for cube in clause.cubes]
    for nth, cube in enumerate(cubes):
        inside = _inside(cube, _FILLS[nth % len(_FILLS)])
        yield inside
        yield _outside(cube, inside, nth)


def _inside(cube: Cube, fill: int) -> list[int]:
    args = [fill] * 6
    for one in cube:
        args[one.arg] = fill & ~one.mask | one.value
    return args


def _outside(cube: Cube, inside: Sequence[int], nth: int) -> list[int]:
    """The point with one bit flipped that the cube tests: another bit for another `nth`."""
    one = cube[nth % len(cube)]
    mask = one.mask
    for _ in range(nth % mask.bit_count()):
        mask &= mask - 1
    args = list(inside)
    args[one.arg] ^= mask & -mask
    return args
