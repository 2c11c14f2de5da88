"""Register conditions: what `@on(Socket, family=AF_NETLINK)` says about one argument.

Each is a frozen value that can be asked in Python (`holds`) and turned into the filter's cubes
(`cubes`), so that what the kernel tests and what the supervisor tests is one thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from notifyd.bpf import cubes
from notifyd.bpf.profile import Cube


class Condition(Protocol):
    """Something about one unsigned argument of `width` bits."""

    def holds(self, value: int) -> bool:
        """Whether it holds for `value`, already cut to the argument's width."""

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:
        """The same as disjoint cubes over register `arg`."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The argument is one of these values."""

    values: tuple[int, ...]

    def holds(self, value: int) -> bool:
        return value in self.values

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:
        return tuple(cubes.one_of(arg, width, self.values))


@dataclass(frozen=True, slots=True)
class NoneOf:
    """The argument is none of these values."""

    values: tuple[int, ...]

    def holds(self, value: int) -> bool:
        return value not in self.values

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:
        return tuple(cubes.none_of(arg, width, self.values))


@dataclass(frozen=True, slots=True)
class Between:
    """The argument, unsigned, is at least `low` and at most `high`."""

    low: int
    high: int

    def holds(self, value: int) -> bool:
        return self.low <= value <= self.high

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:
        return tuple(cubes.between(arg, width, self.low, self.high))


@dataclass(frozen=True, slots=True)
class Bits:
    """Of the bits in `mask`, those set in the argument are exactly those in `value`."""

    mask: int
    value: int

    def holds(self, value: int) -> bool:
        return value & self.mask == self.value

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:  # noqa: ARG002
        found = cubes.has_all(arg, self.mask) if self.value else cubes.has_none(arg, self.mask)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class AnyBit:
    """At least one of these bits is set in the argument."""

    bits: int

    def holds(self, value: int) -> bool:
        return bool(value & self.bits)

    def cubes(self, arg: int, width: int) -> tuple[Cube, ...]:  # noqa: ARG002
        return tuple(cubes.has_any(arg, self.bits))


def has(bits: int) -> Bits:
    """All of `bits` are set: `@on(Open, flags=has(O_CREAT))`."""
    return Bits(bits, bits)


def has_any(bits: int) -> AnyBit:
    """At least one of `bits` is set."""
    return AnyBit(bits)


def lacks(bits: int) -> Bits:
    """None of `bits` is set."""
    return Bits(bits, 0)


def between(low: int, high: int) -> Between:
    """`low <= argument <= high`, unsigned."""
    return Between(low, high)


def is_not(*values: int) -> NoneOf:
    """The argument is none of `values`: `always(Deny(EACCES), Socket, family=is_not(AF_UNIX))`."""
    return NoneOf(values)


def as_condition(given: object) -> Condition | None:
    """The condition that a rule author wrote: a number, a set or range of numbers, or a condition.

    Returns:
        None if it is nothing of the kind.
    """
    if isinstance(given, int):
        return OneOf((int(given),))
    if isinstance(given, (OneOf, NoneOf, Between, Bits, AnyBit)):
        return given
    if isinstance(given, range) and given.step == 1 and len(given):
        return Between(given.start, given.stop - 1)
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        values = tuple(given)
        if values and all(isinstance(value, int) for value in values):
            return OneOf(tuple(int(value) for value in values))
    return None


NOTHING = OneOf(())
"""What holds for no argument."""


def cut(condition: Condition, width: int) -> Condition:
    """`condition` with its numbers unsigned, of `width` bits, so that -1 means what C means.

    Returns:
        `NOTHING` where no argument of that width could meet it.
    """
    full = (1 << width) - 1
    if isinstance(condition, (OneOf, NoneOf)):
        return type(condition)(tuple(value & full for value in condition.values))
    if isinstance(condition, Between):
        found = Between(condition.low & full, condition.high & full)
        return found if found.low <= found.high else NOTHING
    if isinstance(condition, AnyBit):
        return AnyBit(condition.bits & full) if condition.bits & full else NOTHING
    assert isinstance(condition, Bits)
    if condition.value > full:
        return NOTHING  # a bit that has to be set, and that is not there
    return Bits(condition.mask & full, condition.value & full)


def narrow(condition: Condition, width: int, bits: int) -> Condition:
    """What a condition that was `cut` to `width` bits says of an argument of which `bits` count.

    A negative number stays the same number: -1 is all the bits that there are. Any other that needs
    more bits is none that such an argument can be.
    """
    full, low = (1 << bits) - 1, (1 << width) - (1 << bits - 1)

    def is_small(value: int) -> bool:
        return value <= full or value >= low  # as it is, or negative

    if bits >= width:
        return condition
    if isinstance(condition, (OneOf, NoneOf)):
        kept = tuple(value & full for value in condition.values if is_small(value))
        return type(condition)(kept)
    if isinstance(condition, Between):
        return _narrow_range(condition, full, low)
    if isinstance(condition, AnyBit):
        return AnyBit(condition.bits & full)
    assert isinstance(condition, Bits)
    if not is_small(condition.value):
        return NOTHING  # a bit that has to be set, and that is not there
    return Bits(condition.mask & full, condition.value & full)


def _narrow_range(condition: Between, full: int, low: int) -> Condition:
    if condition.low >= low:
        return Between(condition.low & full, condition.high & full)
    if condition.low > full:
        return NOTHING
    return Between(condition.low, min(condition.high, full))
