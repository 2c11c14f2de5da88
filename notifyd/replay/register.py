"""Argument registers of which some bits are on record, and the others never to be guessed."""

from __future__ import annotations

from typing import Any

from notifyd.replay.missing import Missing

__all__ = ["Register", "Registers"]


class Register:
    """One register. The bits on record can be cut out of it; all other use raises NotRecorded.

    Args:
        bits: the bits, and `known` which of them are on record.
        name: what is missed if others are asked for.
    """

    __slots__ = ("_bits", "_known", "_missing", "_name")

    def __init__(self, bits: int, known: int, name: str, missing: Missing) -> None:
        self._bits = bits
        self._known = known
        self._name = name
        self._missing = missing

    def __and__(self, mask: object) -> int:
        if not isinstance(mask, int) or mask < 0 or mask & ~self._known:
            self._missing(self._name)
        return self._bits & mask

    __rand__ = __and__

    def __repr__(self) -> str:
        return f"{self._name}: {self._bits:#x} of {self._known:#x}"


def _missed(register: Register, *_: object) -> Any:
    register._missing(register._name)


# Whatever else can be done with a number; what is not here would be a TypeError of the rule's.
for _name in [
    "add",
    "sub",
    "mul",
    "floordiv",
    "truediv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "or",
    "xor",
    "radd",
    "rsub",
    "rmul",
    "rfloordiv",
    "rtruediv",
    "rmod",
    "rpow",
    "rlshift",
    "rrshift",
    "ror",
    "rxor",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "hash",
    "bool",
    "int",
    "index",
    "float",
    "neg",
    "pos",
    "abs",
    "invert",
    "str",
    "format",
]:
    setattr(Register, f"__{_name}__", _missed)


class Registers:
    """The six argument registers of a recorded call, while the record is read.

    Args:
        bits: how wide they are, 32 or 64.
        missing: called when a rule reads other bits.
    """

    def __init__(self, bits: int, missing: Missing) -> None:
        self._full = (1 << bits) - 1
        self._missing = missing
        self._bits = [0] * 6
        self._known = [0] * 6
        self._names = [f"register {at}" for at in range(6)]

    def call(self, at: int, name: str) -> None:
        """What register `at` holds."""
        self._names[at] = name

    def set(self, at: int, value: int, mask: int) -> None:
        """The bits of `mask` in register `at` are those of `value`."""
        mask &= self._full
        self._bits[at] = self._bits[at] & ~mask | value & mask
        self._known[at] |= mask

    def __iter__(self) -> Any:
        for bits, known, name in zip(self._bits, self._known, self._names, strict=True):
            whole = known == self._full
            yield bits if whole else Register(bits, known, name, self._missing)
