"""What a record gives back of a call is what was there, or it is missed. Nothing is guessed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import record_of

from notifyd.errors import NotifydError
from notifyd.kernel.arch import Arch, entries, native
from notifyd.kernel.socket import SockAddr
from notifyd.policy.bound import Variant
from notifyd.policy.call import ARG0, Call, Raw, RawCall
from notifyd.policy.operations import OPERATIONS
from notifyd.replay.event import event_of
from notifyd.replay.missing import NotRecorded
from notifyd.replay.record import RecordedCall
from notifyd.replay.register import Register

LINES = [
    (operation, variant, arch)
    for operation in OPERATIONS.values()
    for arch in entries(native())
    for variant in operation.variants
    if variant.syscall in arch.numbers and variant.arch in (None, arch.name)
]
COUNTED = {"headers"}  # an event has only how many there are
TRAPS = [b"", b"(unreadable)", b"\\xff", b"\xff", b"a\\xfe", b"/" + b"x" * 4000, b"\xe2\x80\xae"]
TRAPS += [b"\xff" * 3000, b"(and 3 more)", b"AT_FDCWD", b"\x1b[2J", "…(9 more bytes)".encode()]


class Memory:
    """A target that holds something wherever one looks, always the same there."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    name = "tool-1000"
    process = None

    def target(self, note: Any) -> Memory:
        return self

    def _random(self, *at: object) -> random.Random:
        return random.Random(repr((self.seed, *at)))

    def _text(self, *at: object) -> bytes:
        dice = self._random(*at)
        if dice.random() < 0.4:
            return dice.choice(TRAPS)
        return dice.randbytes(dice.randrange(12)).replace(b"\0", b"-")

    def read(self, address: int, size: int) -> bytes:
        dice = self._random(address, size)
        data = bytearray(dice.randbytes(size))
        if size >= 2 and dice.random() < 0.8:
            data[:2] = dice.choice([1, 2, 10, 16, 0, 300]).to_bytes(2, "little")
        if dice.random() < 0.3:
            data[2:] = bytes(len(data[2:]))
        return bytes(data)

    def read_string(self, *at: Any) -> bytes:
        return self._text(at[-2])  # of a workload the call comes first

    def read_strings(
        self, address: int, word: int, most: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        count = self._random(address).choice([0, 1, 3, 64, 65, 70])
        found = tuple(self._text(address, at) for at in range(count))
        return found[:most] if cut else found

    def resolve(self, dirfd: int, pathname: bytes, *_: Any, **__: Any) -> PurePosixPath:
        return PurePosixPath("/" + os.fsdecode(self._text(dirfd, pathname)).replace("/", "-"))

    def digest(self, *at: object) -> str:
        return self._random(*at).choice(["", "ab" * 32])


def looked_at(call: Call) -> Iterator[tuple[str, Any]]:
    """Every field that this very call has, with its value."""
    for name, field in call.fields.items():
        try:
            yield name, field.__get__(call, type(call))
        except (AttributeError, ValueError, NotifydError):
            continue  # this call has none of it, and its event says so


def told(call: Call, name: str) -> Any:
    """A field of a replayed call; `NotRecorded` if it is missed."""
    try:
        return call.fields[name].__get__(call, type(call))
    except NotRecorded:
        return NotRecorded


def assert_same(found: Any, real: Any) -> None:
    """A value is the real one in everything that it tells of itself."""
    if isinstance(real, SockAddr):
        assert str(found) == str(real)
        for name in SockAddr.__slots__:
            try:
                assert getattr(found, name) == getattr(real, name), name
            except NotRecorded:
                assert name != "family"
    elif isinstance(real, tuple):
        assert len(found) == len(real)
        for one, other in zip(found, real, strict=True):
            assert_same(one, other)
    else:
        assert found == real
        assert type(found) is type(real)


def made(operation: type[Call], variant: Variant, arch: Arch, six: list[int], seed: int) -> Call:
    """A call with these registers, and memory wherever it looks."""
    for at, number in variant.when:
        six[at] = number
    six = [one & (1 << arch.bits) - 1 for one in six]
    note = (1, 1001, 0, arch.numbers[variant.syscall], arch.audit, 0, *six)
    return operation(note, variant, Memory(seed))  # type: ignore[arg-type]


def recorded(call: Call, arch: Arch) -> RecordedCall:
    """The call, written down and read again."""
    return RecordedCall(event_of(record_of(call)), arch, call.note[3])


numbers = st.integers(0, (1 << 64) - 1) | st.integers(0, 40) | st.sampled_from([1 << 32, 0o102101])
sixes = st.lists(numbers, min_size=6, max_size=6)


@pytest.mark.parametrize(
    ("operation", "variant", "arch"), LINES, ids=lambda one: getattr(one, "syscall", None)
)
@given(six=sixes, seed=st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_every_field_reads_back(
    operation: type[Call], variant: Variant, arch: Arch, six: list[int], seed: int
) -> None:
    """parse(render(x)) == x for every field of every call, or x is missed."""
    call = made(operation, variant, arch, six, seed)
    real = dict(looked_at(call))
    again = recorded(call, arch).call(operation, variant)
    for name, value in real.items():
        found = told(again, name)
        if found is not NotRecorded:
            assert_same(found, value)


@pytest.mark.parametrize(
    ("operation", "variant", "arch"), LINES, ids=lambda one: getattr(one, "syscall", None)
)
def test_plain_values_are_never_missed(operation: type[Call], variant: Variant, arch: Arch) -> None:
    """A call whose texts are plain reads back whole, so the inverse of every render is there."""
    call = made(operation, variant, arch, [7, 0o102, 2, 3, 4, 5], 0)
    call._origin = Plain(0)  # type: ignore[assignment]
    real = dict(looked_at(call))
    again = recorded(call, arch).call(operation, variant)
    hidden = {name for name in real if name not in call.describe() and name != "envp"}
    missed = {name for name in real if told(again, name) is NotRecorded}
    assert missed - COUNTED <= hidden | {"envp"}, missed


class Plain(Memory):
    """As `Memory`, but with nothing odd in it."""

    def _text(self, *at: object) -> bytes:
        return b"plain"

    def read(self, address: int, size: int) -> bytes:
        return (b"\x02\0" + bytes(size))[:size]

    def read_strings(self, *at: Any, **_: Any) -> tuple[bytes, ...]:
        return (b"plain", b"-v")


@given(six=sixes, mask=st.sampled_from([0xFF, 0xFFFF, 0xFFFFFFFF, (1 << 64) - 1]))
@settings(max_examples=200, deadline=None)
def test_registers_read_back_or_are_missed(six: list[int], mask: int) -> None:
    """The bits of a register that fields show, and no others."""
    operation = OPERATIONS["Open"]
    variant = next(one for one in operation.variants if one.syscall == "openat")
    call = made(operation, variant, native(), six, 1)
    note = recorded(call, native()).note
    for at in range(6):
        register = note[ARG0 + at]
        if isinstance(register, int):
            assert register == call.note[ARG0 + at]
            continue
        try:
            assert register & mask == call.note[ARG0 + at] & mask
            assert at in (0, 2, 3)
        except NotRecorded:
            assert at not in (0, 2) or mask > 0xFFFFFFFF


def test_whatever_else_is_done_with_a_register_is_missed() -> None:
    """Comparing, adding, printing: none of it works on bits that nobody knows."""
    call = made(OPERATIONS["Open"], OPERATIONS["Open"].variants[1], native(), [0] * 6, 1)
    record = recorded(call, native())
    register = record.note[ARG0]
    assert isinstance(register, Register)
    uses = [
        lambda: register == 0,
        lambda: register + 1,
        lambda: 1 << register,
        lambda: bool(register),
        lambda: f"{register}",
        lambda: hash(register),
        lambda: list(range(9))[register],
        lambda: register & -1,
    ]
    for use in uses:
        with pytest.raises(NotRecorded, match="dirfd"):
            use()
    assert record.missing.names == ["dirfd"] * len(uses)


def test_a_raw_call_has_all_its_registers() -> None:
    """So it can be decided by rules of any operation that look at registers alone."""
    variant = next(one for one in Raw("openat").variants if one.arch == native().name)
    call = made(RawCall, variant, native(), [1, 2, 3, 4, 5, (1 << 64) - 1], 0)
    record = recorded(call, native())
    assert record.note[ARG0:] == (1, 2, 3, 4, 5, (1 << 64) - 1)
    opened = record.call(OPERATIONS["Open"], OPERATIONS["Open"].variants[1])
    assert (opened.dirfd, opened.flags) == (1, 3)  # type: ignore[attr-defined]
    assert told(opened, "pathname") is NotRecorded
    assert record.missing.names == ["pathname"]


def test_the_process_is_known_as_far_as_events_tell() -> None:
    """Its executable, user, pid and start; not its parents, and not its arguments."""
    call = made(OPERATIONS["Listen"], OPERATIONS["Listen"].variants[0], native(), [1] * 6, 0)
    record = recorded(call, native())
    process = record.call(OPERATIONS["Listen"], OPERATIONS["Listen"].variants[0]).process
    known = (process.pid, process.tid, process.uid, process.start, process.exe)
    assert known == (1000, 1001, 1000, 77, PurePosixPath("/usr/bin/tool"))
    for name in ("ppid", "cmdline", "cwd", "gid"):
        with pytest.raises(NotRecorded, match=f"process.{name}"):
            getattr(process, name)
