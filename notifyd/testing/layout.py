"""Laying values out as arguments of a system call: registers, and memory behind them.

The inverse of `notifyd.policy.sources` and of what the fields decode. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack
from typing import Any

from notifyd.kernel.arch import Arch
from notifyd.kernel.limits import MASK64
from notifyd.kernel.structs import MMSGHDR_BYTES, MSGHDR
from notifyd.policy import fields as kinds
from notifyd.policy import sources
from notifyd.policy.address import SocketAddress
from notifyd.policy.bound import Source, Variant
from notifyd.policy.call import Call
from notifyd.policy.operations.identity import CapabilitySets, Groups
from notifyd.policy.operations.layouts import Less, Signed32
from notifyd.policy.operations.sending import Destinations, Headers, MessageHeader
from notifyd.testing.addresses import as_bytes, as_sockaddr

__all__ = ["Layout", "has_place"]

# where the memory of a made call begins; a 32-bit program can have it too
FIRST_ADDRESS = 0x1000_0000
PIECE_DISTANCE = 0x10_0000  # bytes between two pieces, so that reading beyond one is a fault
STRUCT = 256  # bytes of a struct or of socketcall's words; the largest is struct clone_args


def has_place(variant: Variant, values: Mapping[str, Any]) -> bool:
    """Whether a system call can carry these values of its operation's fields."""
    for name, value in values.items():
        source = variant.sources.get(name)
        if name == "addresses":
            most = 1024 if "count" in variant.sources else 1
            if (source is None and "headers" not in variant.sources) or len(value) > most:
                return False
        elif source is None or (isinstance(source, sources.Const) and source.value != value):
            return False
    return True


class Layout:
    """The arguments of one call, while they are laid out.

    Attributes:
        registers: six of them, unsigned.
    """

    def __init__(self, operation: type[Call], variant: Variant, arch: Arch) -> None:
        self._fields = operation.fields
        self._variant = variant
        self._arch = arch
        self._word = arch.bits // 8
        self._pieces: dict[int, bytearray] = {}
        self._structs: dict[int, bytearray] = {}
        self.registers = [0] * 6
        for at, number in variant.when:
            self.registers[at] = number
        for name, source in variant.sources.items():
            self._store(source, 0)  # makes the structs
            if name in self._fields and not self._fields[name].memory:
                field = self._fields[name]
                self._store(source, field.default & (1 << max(field.width, 32)) - 1)

    def put(self, values: Mapping[str, Any]) -> None:
        """Lay down these values; numbers last, so that a size that was given is not overwritten.

        Raises:
            TypeError: a value that its field cannot have.
        """
        for name in sorted(values, key=lambda one: not self._fields[one].memory):
            field = self._fields[name]
            raw = self._raw(field, values[name])
            source = self._variant.sources.get(name) or self._variant.sources["headers"]
            self._store(source, raw)

    def memory(self) -> dict[int, bytes]:
        """What the registers point to, by address."""
        return {address: bytes(piece) for address, piece in self._pieces.items()}

    # -- where it goes

    def _store(self, source: Source, raw: int) -> None:
        registers, full = self.registers, (1 << self._arch.bits) - 1
        if isinstance(source, (sources.Reg, sources.Reg16, Signed32)):
            registers[source.index] = raw & full
        elif isinstance(source, Less):
            registers[source.index] = raw + source.amount & full
        elif isinstance(source, sources.Pair):
            registers[source.low], registers[source.high] = raw & 0xFFFFFFFF, raw >> 32
        elif isinstance(source, sources.Mem):
            data = (raw & (1 << 8 * source.size) - 1).to_bytes(source.size, "little")
            self._struct(source.pointer)[source.offset : source.offset + source.size] = data
        elif isinstance(source, sources.Word):
            at = 4 * source.index
            self._struct(1)[at : at + 4] = (raw & 0xFFFFFFFF).to_bytes(4, "little")

    def _struct(self, register: int) -> bytearray:
        """The struct behind a register."""
        if register not in self._structs:
            self.registers[register] = self._place(bytes(STRUCT))
            self._structs[register] = self._pieces[self.registers[register]]
        return self._structs[register]

    def _place(self, data: bytes) -> int:
        address = FIRST_ADDRESS + PIECE_DISTANCE * len(self._pieces)
        self._pieces[address] = bytearray(data)
        return address

    def _also(self, name: str, value: int) -> None:
        """Set the field that tells the size of another."""
        source = self._variant.sources.get(name)
        if source is not None:
            self._store(source, value)

    # -- what it is

    def _raw(self, field: kinds.Field[Any], value: Any) -> int:
        """The raw argument for a value; what it points to is placed in memory."""
        if isinstance(field, kinds.Int):
            return _number(field, value)
        if isinstance(field, kinds.Device):
            return _device(*value)
        if isinstance(field, SocketAddress):
            return self._address(value, field.length)
        if isinstance(field, Destinations):
            if "headers" in self._variant.sources:
                return self._headers([self._header(one) for one in value])
            return self._address(value[0], "addrlen")
        if isinstance(field, Headers):
            return self._headers(value)
        return self._bytes(field, value)

    def _bytes(self, field: kinds.Field[Any], value: Any) -> int:
        if value is None:
            return 0
        if isinstance(field, kinds.Text) and field.length is not None:
            data = as_bytes(value)
            self._also(field.length, len(data))
            return self._place(data)
        if isinstance(field, kinds.Strings):
            pointers = [self._place(as_bytes(one) + b"\0") for one in value]
            return self._place(self._words([*pointers, 0]))
        if isinstance(field, Groups):
            self._also("count", len(value))
            short = self._variant.syscall == "setgroups" and self._arch.name == "i386"
            return self._place(pack(f"<{len(value)}{'H' if short else 'I'}", *value))
        if isinstance(field, CapabilitySets):
            halves = [mask & 0xFFFFFFFF for mask in value] + [mask >> 32 for mask in value]
            return self._place(pack("<6I", *halves))
        return self._place(as_bytes(value) + b"\0")

    def _address(self, value: object, length: str) -> int:
        data = b"" if value is None else as_sockaddr(value)
        self._also(length, len(data))
        return 0 if value is None else self._place(data)

    def _header(self, address: object) -> MessageHeader:
        data = b"" if address is None else as_sockaddr(address)
        return MessageHeader(self._place(data) if data else 0, len(data), 0, 0, 0, 0, 0)

    def _headers(self, headers: Iterable[MessageHeader]) -> int:
        packed = [
            MSGHDR[self._word]
            .pack(
                one.name, one.namelen, one.iov, one.iovlen, one.control, one.controllen, one.flags
            )
            .ljust(MMSGHDR_BYTES[self._word], b"\0")
            for one in headers
        ]
        self._also("count", len(packed))
        return self._place(b"".join(packed))

    def _words(self, numbers: Iterable[int]) -> bytes:
        return b"".join(number.to_bytes(self._word, "little") for number in numbers)


def _number(field: kinds.Int, value: Any) -> int:
    width = max(field.width, 32)  # socket(2) has flags above the type
    if not isinstance(value, int):
        raise TypeError(f"{field.name}={value!r}: give a number")
    if not -(1 << width - 1) <= value < 1 << width:
        raise TypeError(f"{field.name}={value!r} does not fit into {width} bits")
    return value & (1 << width) - 1 & MASK64


def _device(major: int, minor: int) -> int:
    """The kernel's 32-bit form, new_encode_dev()."""
    return (minor & 0xFF) | (major << 8) | (minor & ~0xFF) << 12
