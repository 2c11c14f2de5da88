"""A stopped thread that exists only in memory: what a call may look at, as a dict of addresses."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from notifyd.errors import TargetFault
from notifyd.kernel.arch import ARCHES, AUDIT_ARCH_X86_64
from notifyd.policy.call import ARG0, Call, Note
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.sources import Variant


class Memory:
    """A target whose memory is `pieces`, and whose paths are joined to `roots` by descriptor."""

    def __init__(self, pieces: Mapping[int, bytes], roots: Mapping[int, str]) -> None:
        self.pieces = dict(pieces)
        self.roots = {-100: "/cwd", **roots}
        self.reads: list[tuple[int, int]] = []
        self.resolved: list[tuple[int, bytes, bool]] = []

    @property
    def process(self) -> Any:
        raise NotImplementedError

    def read(self, address: int, size: int) -> bytes:
        self.reads.append((address, size))
        for start, piece in self.pieces.items():
            if start <= address and address + size <= start + len(piece):
                return piece[address - start : address - start + size]
        raise TargetFault(f"{size} bytes at {address:#x}", errno.EFAULT)

    def read_string(self, address: int, limit: int) -> bytes:
        for start, piece in self.pieces.items():
            if start <= address < start + len(piece):
                self.reads.append((address, limit))
                string, nul, _ = piece[address - start :][:limit].partition(b"\0")
                if nul:
                    return string
        raise TargetFault(f"string at {address:#x}", errno.EFAULT)

    def read_strings(
        self, address: int, word: int, max_strings: int, max_bytes: int
    ) -> tuple[bytes, ...]:
        found: list[bytes] = []
        while pointer := int.from_bytes(self.read(address + word * len(found), word), "little"):
            found.append(self.read_string(pointer, max_bytes))
        return tuple(found[:max_strings])

    def resolve(self, dirfd: int, pathname: bytes, follow: bool) -> PurePosixPath:
        self.resolved.append((dirfd, pathname, follow))
        return PurePosixPath(self.roots[dirfd]) / pathname.decode()


class MemoryOrigin:
    """A workload whose one thread is `memory`."""

    name = "test"

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def target(self, note: Note) -> Memory:
        return self.memory


def variant_for(operation: type[Call], syscall: str, arch: str, note: Note) -> Variant:
    """The line of the operation's table that these registers are."""
    for variant in operation.variants:
        named = variant.syscall == syscall and variant.arch in (None, arch)
        if named and all(note[ARG0 + at] & 0xFFFFFFFF == value for at, value in variant.when):
            return variant
    raise LookupError(f"{operation.__name__} has no {syscall} on {arch}")


@pytest.fixture
def stopped() -> Callable[..., Any]:
    """Make a call: `stopped("Open", "openat", fd, path, arch="i386", memory={address: bytes})`."""

    def make(
        operation: str,
        syscall: str,
        *args: int,
        arch: str = "x86_64",
        memory: Mapping[int, bytes] = {},
        roots: Mapping[int, str] = {},
    ) -> Any:
        audit = next(audit for audit, one in ARCHES.items() if one.name == arch)
        bits = ARCHES[audit].bits
        registers = tuple(arg & (1 << bits) - 1 for arg in (*args, 0, 0, 0, 0, 0, 0)[:6])
        note = (1, 2, 0, ARCHES[audit].numbers[syscall], audit, 0, *registers)
        cls = OPERATIONS[operation]
        variant = variant_for(cls, syscall, arch, note)
        return cls(note, variant, MemoryOrigin(Memory(memory, roots)))

    return make


@pytest.fixture
def memory_of() -> Callable[[Call], Memory]:
    """The memory behind a call that `stopped` made: what was read and resolved."""

    def find(call: Call) -> Memory:
        origin = call.origin
        assert isinstance(origin, MemoryOrigin)
        return origin.memory

    return find


@pytest.fixture
def x86_64() -> int:
    """The AUDIT_ARCH value that tests use where it does not matter."""
    return AUDIT_ARCH_X86_64
