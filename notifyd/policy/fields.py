"""The fields of an operation: what an argument means, how it reads as a value and as text.

A field turns the raw number that its source yields into what a rule author wants to see. It says
how wide the argument is (for the filter) and how it is written into an event.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Generic, Self, TypeVar, overload

from notifyd.errors import TargetFault
from notifyd.kernel.files import AT_EMPTY_PATH, AT_FDCWD
from notifyd.kernel.limits import PATH_MAX
from notifyd.policy.bound import BoundCall
from notifyd.policy.note import ARG0
from notifyd.policy.sources import Reg

T = TypeVar("T")


class Field(ABC, Generic[T]):
    """One argument of an operation.

    Attributes:
        name: the attribute's name, set by the class body.
        width: how many bits of its register the kernel looks at.
        summary: half a sentence for the reference page.
        memory: whether reading the value looks at the target's memory.
        derived: made from other fields, and in an event only if a rule asked for it.
        depends: its text depends on other registers too.
        counts_with: another field's name, and bits of which one has to be set in it if it lies in
            a register: without them this field is rubbish, and no event shows it.
    """

    width = 32
    memory = False
    derived = False
    depends = False
    counts_with: tuple[str, int] = ("", 0)
    kind = "number"
    name = ""

    def __init__(self, summary: str = "", *, default: int = 0) -> None:
        self.summary = summary
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def shown_width(self) -> int:
        """How many bits of the register decide the text of an event."""
        return self.width

    @overload
    def __get__(self, call: None, owner: type) -> Self: ...
    @overload
    def __get__(self, call: BoundCall, owner: type) -> T: ...
    def __get__(self, call: BoundCall | None, owner: type) -> T | Self:
        if call is None:
            return self
        # Invariant: a value read from memory is read once. What the rule judged, what the event
        # says and what is performed is the same copy (DESIGN, invariant 4).
        name, seen = self.name, call.seen
        if name in seen:
            return seen[name]  # type: ignore[no-any-return]
        source = call.variant.sources.get(name)
        value = self.decode(call, self.default if source is None else source.fetch(call))
        seen[name] = value
        return value

    @abstractmethod
    def decode(self, call: BoundCall, raw: int) -> T:
        """The value as a rule sees it, from the raw unsigned argument."""

    def render(self, call: BoundCall) -> Any:
        """The value as it stands in an event: a number, a text, or a list of texts."""
        return self.__get__(call, type(call))


class Int(Field[int]):
    """A number of `width` bits."""

    def __init__(
        self, summary: str = "", *, width: int = 32, signed: bool = False, default: int = 0
    ) -> None:
        super().__init__(summary, default=default)
        self.width = width
        self.signed = signed

    def decode(self, call: BoundCall, raw: int) -> int:  # noqa: ARG002
        value = raw & (1 << self.width) - 1
        return value - (1 << self.width) if self.signed and value >> self.width - 1 else value


class Fd(Int):
    """A descriptor number of the target; negative numbers have meanings of their own."""

    kind = "descriptor"

    def __init__(self, summary: str = "", *, default: int = -1) -> None:
        super().__init__(summary, signed=True, default=default)


class DirFd(Fd):
    """A directory descriptor that a relative path starts from; AT_FDCWD (-100) is the cwd."""

    def __init__(self, summary: str = "where a relative path starts") -> None:
        super().__init__(summary, default=AT_FDCWD)

    def render(self, call: BoundCall) -> Any:
        value = super().render(call)
        return "AT_FDCWD" if value == AT_FDCWD else value


class Enum(Int):
    """One of several named numbers."""

    kind = "name"

    def __init__(self, names: Mapping[str, int], summary: str = "", *, width: int = 32) -> None:
        super().__init__(summary, width=width)
        self.names = names

    def table(self, call: BoundCall) -> Mapping[str, int]:  # noqa: ARG002
        """The names that hold for this call; for subclasses whose calls differ."""
        return self.names

    def render(self, call: BoundCall) -> Any:
        value = super().render(call)
        return next((name for name, number in self.table(call).items() if number == value), value)


class Flags(Int):
    """Named bits. `base` names the values of the bits that are no flags, as O_ACCMODE has."""

    kind = "flags"

    def __init__(
        self,
        names: Mapping[str, int],
        summary: str = "",
        *,
        base: tuple[int, Mapping[str, int]] = (0, {}),
        width: int = 32,
    ) -> None:
        super().__init__(summary, width=width)
        self.names = names
        self.base = base

    def table(self, call: BoundCall) -> tuple[Mapping[str, int], int, Mapping[str, int]]:  # noqa: ARG002
        """Flags, mask and base that hold for this call; for subclasses whose calls differ."""
        return self.names, *self.base

    def render(self, call: BoundCall) -> Any:
        value = super().render(call)
        names, mask, base = self.table(call)
        parts = [name for name, number in base.items() if value & mask == number][:1]
        rest = value & ~mask if parts else value
        # Several names may share bits (O_SYNC holds O_DSYNC): the widest first, and each bit once.
        for name, bits in sorted(names.items(), key=lambda item: -item[1].bit_count()):
            if bits and rest & bits == bits:
                parts.append(name)
                rest &= ~bits
        if rest or not parts:
            parts.append(hex(rest) if rest else "0")
        return "|".join(parts)


class Mode(Int):
    """Permission bits and file type, as in inode(7); octal in events."""

    kind = "mode"

    def render(self, call: BoundCall) -> Any:
        return f"{super().render(call):04o}"


class Id(Int):
    """A user or group id; -1 leaves it as it is."""

    kind = "id"

    def __init__(self, summary: str = "") -> None:
        super().__init__(summary, signed=True, default=-1)


class Device(Field[tuple[int, int]]):
    """A device number as (major, minor); makedev(3)."""

    kind = "device"

    def decode(self, call: BoundCall, raw: int) -> tuple[int, int]:  # noqa: ARG002
        # The kernel's 32-bit form, new_decode_dev(): mmmM MMmm in nibbles of minor and major.
        return (raw >> 8) & 0xFFF, (raw & 0xFF) | (raw >> 12) & 0xFFF00

    def render(self, call: BoundCall) -> Any:
        major, minor = self.__get__(call, type(call))
        return f"{major}:{minor}"


class Address(Int):
    """A pointer of the target, not followed. Hexadecimal in events."""

    kind = "pointer"

    def __init__(self, summary: str = "", *, default: int = 0) -> None:
        super().__init__(summary, width=64, default=default)

    def render(self, call: BoundCall) -> Any:
        return hex(super().render(call))


class Pathname(Field[bytes]):
    """The path exactly as the target gave it: bytes without the NUL, nothing resolved.

    Attributes:
        plain: the string behind the pointer, with nothing that a subclass adds.
    """

    plain = True

    memory = True
    kind = "bytes"
    width = 64

    @overload
    def __get__(self, call: None, owner: type) -> Self: ...
    @overload
    def __get__(self, call: BoundCall, owner: type) -> bytes: ...
    def __get__(self, call: BoundCall | None, owner: type) -> bytes | Self:
        if call is None:
            return self
        value = call.seen.get(self.name)
        if value is None:
            # What rules look at most: with no step on the way that is not needed.
            source = call.variant.sources.get(self.name)
            if self.plain and source.__class__ is Reg:
                call.looked = True
                value = call.origin.read_string(call, call.note[ARG0 + source.index], PATH_MAX)
                call.seen[self.name] = value
            else:
                value = super().__get__(call, owner)
        return value

    def decode(self, call: BoundCall, raw: int) -> bytes:
        return call.read_string(raw, PATH_MAX)

    def render(self, call: BoundCall) -> Any:
        return text(self.__get__(call, type(call)))


class Path(Field[PurePosixPath]):
    """The absolute path as the target sees it, symlinks resolved up to the last component.

    Args:
        pathname: the field with the text.
        dirfd: the field with the directory that it starts from.
        follow: the property that says whether a symlink in the last component is followed.
        written: whether the call changes what is there: makes or removes it, or changes what it
            holds or what is said of it. True, False, or the property that says so.
        named: whether the last component is a name that is made or taken away. It is not followed
            even with a slash behind it.
        empty: the field with AT_EMPTY_PATH, with which an empty text means the descriptor; `always`
            if it needs no flag.
    """

    memory = True
    derived = True
    kind = "path"

    def __init__(
        self,
        pathname: str = "pathname",
        dirfd: str | None = "dirfd",
        follow: str | bool = True,
        summary: str = "the absolute path as the target sees it",
        *,
        written: bool | str = False,
        named: bool = False,
        empty: str = "",
    ) -> None:
        super().__init__(summary)
        self.named = named
        self.empty = empty
        self.pathname = pathname
        self.dirfd = dirfd
        self.follow = follow
        self.written = written

    def is_given(self, call: BoundCall) -> bool:  # noqa: ARG002
        """Whether `call` has this path at all; where not, asking for it raises AttributeError."""
        return True

    def follows(self, call: BoundCall) -> bool:
        """Whether `call` follows a symlink in the last component of this path."""
        return bool(getattr(call, self.follow) if isinstance(self.follow, str) else self.follow)

    def changes(self, call: BoundCall) -> bool:
        """Whether `call` may change what is at this path."""
        written = self.written
        return bool(getattr(call, written) if isinstance(written, str) else written)

    def names(self, call: BoundCall) -> bool:
        """Whether `call` has a text for this path: not a descriptor alone."""
        return bool(getattr(call, self.pathname))

    def decode(self, call: BoundCall, raw: int) -> PurePosixPath:  # noqa: ARG002
        dirfd = getattr(call, self.dirfd) if self.dirfd else AT_FDCWD
        given: bytes = getattr(call, self.pathname)
        if not given and not self.takes_empty(call):
            raise TargetFault("an empty path", errno.ENOENT)
        if self.named:
            given = given.rstrip(b"/") or given
        return call.resolve(dirfd, given, self.follows(call), rooted=self.is_rooted(call))

    def is_rooted(self, call: BoundCall) -> bool:  # noqa: ARG002
        """Whether the walk of this path has the descriptor that it starts at for its root."""
        return False

    def takes_empty(self, call: BoundCall) -> bool:
        """Whether an empty text means the descriptor in `call`: it has no other, or may be null."""
        if self.empty == "always" or not call.raw(self.pathname, 0):
            return True
        return bool(self.empty and getattr(call, self.empty) & AT_EMPTY_PATH)

    def render(self, call: BoundCall) -> Any:
        # An event costs no look-up of its own: the resolved path if the rule asked for it.
        seen = call.seen.get(self.name)
        return text(bytes(seen)) if seen is not None else None


class Text(Field[bytes]):
    """Bytes up to a NUL, or `length` bytes where the call passes a length."""

    memory = True
    kind = "bytes"
    width = 64

    def __init__(self, summary: str = "", *, length: str | None = None, limit: int = 256) -> None:
        super().__init__(summary)
        self.length = length
        self.limit = limit

    def decode(self, call: BoundCall, raw: int) -> bytes:
        if self.length is None:
            return call.read_string(raw, self.limit) if raw else b""
        size = min(max(getattr(call, self.length), 0), self.limit)
        return call.read(raw, size) if size else b""

    def render(self, call: BoundCall) -> Any:
        return text(self.__get__(call, type(call)))


class Strings(Field[tuple[bytes, ...]]):
    """A vector of strings that ends with a null pointer: argv or envp of execve(2)."""

    memory = True
    kind = "list of bytes"
    width = 64
    # The kernel takes 2 MiB of strings and pointers with the usual stack limit (execve(2)). What is
    # more is refused with E2BIG, since reading it would hold up everybody else.
    MAX_STRINGS = 1 << 16
    MAX_BYTES = 1 << 21
    SHOWN = 64  # strings in an event; the rest is counted
    READ_TO_SHOW = 1 << 16  # bytes that are read for an event alone

    def __init__(self, summary: str = "", *, recorded: bool = True) -> None:
        super().__init__(summary)
        self.recorded = recorded

    def decode(self, call: BoundCall, raw: int) -> tuple[bytes, ...]:
        return call.read_strings(raw, self.MAX_STRINGS, self.MAX_BYTES)

    def render(self, call: BoundCall) -> Any:
        if not self.recorded:
            return None
        value = call.seen.get(self.name)
        more = f"(and {len(value or ()) - self.SHOWN} more)"
        if value is None:  # no rule looked: no more is read than is shown
            raw, more = call.raw(self.name, 0), "(and more)"
            value = call.read_strings(raw, self.SHOWN + 1, self.READ_TO_SHOW, cut=True)
        shown = [text(item[:PATH_MAX]) for item in value[: self.SHOWN]]
        return [*shown, more] if len(value) > len(shown) else shown


def text(data: bytes) -> str:
    r"""Bytes of a target as text that is whole: what is not UTF-8 becomes `\xNN`."""
    return data.decode("utf-8", "backslashreplace")
