"""Shapes that several operations share: sources, fields and lines of their tables.

Knows how calls of one family keep their arguments; not what any of them means.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from notifyd.errors import TargetFault
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.limits import PATH_MAX
from notifyd.policy.bound import BoundCall, Source, Variant
from notifyd.policy.fields import Flags, Mode, Path, Pathname, Text
from notifyd.policy.sources import Mem, Reg, Reg16

__all__ = [
    "ABSENT_PID",
    "BoundedText",
    "CellFlags",
    "CellMode",
    "Less",
    "MaybePathname",
    "PathIfGiven",
    "Signed32",
    "SocketPath",
    "narrow_ids",
    "short_size",
    "shorten",
]

ABSENT_PID = -(1 << 31)  # what kill(2) refuses as ESRCH: no process, no group, not everybody
MAX_SHOWN_ITEMS = 64  # items of a list in an event; the rest is counted
_WIDE = ("x86_64", "aarch64")  # entries whose setuid(2), chown(2) and so on take 32-bit ids


@dataclass(frozen=True, slots=True)
class Less:
    """Register `index` minus `amount`, where one call counts from one and its sibling from zero."""

    index: int
    amount: int

    def fetch(self, call: BoundCall) -> int:
        """The difference, as 64 unsigned bits."""
        return (call.args[self.index] - self.amount) & (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Signed32:
    """A 32-bit register that i386 widens with its sign, as the sizes of truncate(2)."""

    index: int

    def fetch(self, call: BoundCall) -> int:
        """The value as 64 unsigned bits."""
        value = call.args[self.index] & 0xFFFFFFFF
        return value | 0xFFFFFFFF << 32 if value >> 31 else value


def shorten(items: Sequence[Any]) -> list[Any]:
    """The items that an event has room for, and how many more there are."""
    more = len(items) - MAX_SHOWN_ITEMS
    return [*items[:MAX_SHOWN_ITEMS], f"(and {more} more)"] if more > 0 else list(items)


def narrow_ids(
    syscall: str, *, ids: Mapping[str, int], on: tuple[str, ...] = _WIDE, **fields: int
) -> tuple[Variant, ...]:
    """The lines of a call whose `ids` have 16 bits on i386 and 32 `on` the others that have it."""
    wide = {name: Reg(at) for name, at in ids.items()}
    narrow = {name: Reg16(at) for name, at in ids.items()}
    return _lines(syscall, fields, on, wide, narrow)


def short_size(syscall: str, *, size: int, **fields: int) -> tuple[Variant, ...]:
    """The lines of a call whose signed field `size` has 32 bits on i386 and 64 elsewhere."""
    return _lines(syscall, fields, _WIDE, {"size": Reg(size)}, {"size": Signed32(size)})


def _lines(
    syscall: str,
    fields: Mapping[str, int],
    on: tuple[str, ...],
    wide: Mapping[str, Source],
    narrow: Mapping[str, Source],
) -> tuple[Variant, ...]:
    same = {name: Reg(at) for name, at in fields.items()}
    lines = [Variant(syscall, {**same, **wide}, arch=arch) for arch in on]
    return (*lines, Variant(syscall, {**same, **narrow}, arch="i386"))


class CellFlags(Flags):
    """Flags cut to `width` in a register; whole where they are a member of a struct in memory.

    The kernel drops the high half of an int argument, and refuses it in a struct: openat2(2).
    """

    def decode(self, call: BoundCall, raw: int) -> int:
        """Cut or whole, by where it lies."""
        in_memory = isinstance(call.variant.sources.get(self.name), Mem)
        return raw if in_memory else super().decode(call, raw)


class CellMode(Mode):
    """A mode: `umode_t`, 16 bits of a register; whole where it is a member of a struct."""

    def __init__(self, summary: str = "") -> None:
        super().__init__(summary, width=16)

    def decode(self, call: BoundCall, raw: int) -> int:
        """Cut or whole, by where it lies."""
        in_memory = isinstance(call.variant.sources.get(self.name), Mem)
        return raw if in_memory else super().decode(call, raw)


class BoundedText(Text):
    """A string that is refused with an errno of its own where it is too long.

    Args:
        summary: half a sentence for the reference page.
        limit: bytes with the NUL.
        too_long: the errno.
        nullable: whether a null pointer reads as an empty string; it is EFAULT elsewhere.
    """

    def __init__(self, summary: str, *, limit: int, too_long: int, nullable: bool = False) -> None:
        super().__init__(summary, limit=limit)
        self.too_long = too_long
        self.nullable = nullable

    def decode(self, call: BoundCall, raw: int) -> bytes:
        """The bytes before the NUL."""
        if self.nullable and not raw:
            return b""
        try:
            return call.read_string(raw, self.limit)
        except TargetFault as fault:
            if fault.errno != errno.ENAMETOOLONG:
                raise
            raise TargetFault("a text without an end", self.too_long) from fault


class MaybePathname(Pathname):
    """A path that reads as empty where the call has a descriptor instead.

    Args:
        summary: half a sentence for the reference page.
        null: the attribute that says whether a null pointer means the descriptor too. Where it
            does not, the target gets EFAULT, as from the kernel.
    """

    plain = False

    def __init__(self, summary: str = "the path as given", *, null: str = "") -> None:
        super().__init__(summary)
        self.null = null

    def decode(self, call: BoundCall, raw: int) -> bytes:
        """The bytes, or none where a descriptor stands for them."""
        if self.name not in call.variant.sources:
            return b""
        if raw == 0 and self.null and getattr(call, self.null):
            return b""
        return call.read_string(raw, PATH_MAX)


class PathIfGiven(Path):
    """A resolved path that some calls of the operation lack: those raise AttributeError.

    So a rule that judges by the path fails closed on a call that it did not think of.
    """

    def is_given(self, call: BoundCall) -> bool:
        """Whether there is something to resolve."""
        has_place = self.pathname in call.variant.sources
        return has_place and (self.dirfd is not None or self.names(call))

    def takes_empty(self, call: BoundCall) -> bool:  # noqa: ARG002
        """Each of these calls has a flag of its own for it, and the kernel minds it."""
        return True

    def decode(self, call: BoundCall, raw: int) -> PurePosixPath:
        """Resolve it; AttributeError where there is nothing to resolve."""
        if self.pathname not in call.variant.sources:
            raise AttributeError(f"{call.syscall} has no {self.pathname}; ask call.syscall first")
        if not self.is_given(call):
            raise AttributeError(f"this {call.syscall} names no file")
        return super().decode(call, raw)


class SocketPath(Path):
    """The resolved path of an AF_UNIX address; AttributeError where the address is no path."""

    def __init__(self, summary: str, *, follow: bool, written: bool) -> None:
        # What is written is a name that is made.
        super().__init__("address", None, follow, summary, written=written, named=written)

    def is_given(self, call: BoundCall) -> bool:
        """Whether the address is a path: not abstract, not unnamed, not of another family."""
        return bool(_socket_path(call))

    def decode(self, call: BoundCall, raw: int) -> PurePosixPath:  # noqa: ARG002
        """Resolve it from the target's root and working directory."""
        path = _socket_path(call)
        if not path:
            raise AttributeError(f"the address of this {call.syscall} is no path")
        if self.named:
            path = path.rstrip(b"/") or path
        return call.resolve(AT_FDCWD, path, self.follows(call))


def _socket_path(call: BoundCall) -> bytes:
    address: Any = getattr(call, "address", None)
    path: bytes = (address.path if address is not None else None) or b""
    return b"" if path.startswith(b"\0") else path
