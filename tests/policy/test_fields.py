"""Fields: how a raw argument becomes a value and a text, whatever operation it is of."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from notifyd.errors import StaleCall
from notifyd.policy.call import Call
from notifyd.policy.fields import (
    Address,
    Device,
    DirFd,
    Enum,
    Fd,
    Flags,
    Id,
    Int,
    Mode,
    Path,
    Pathname,
    Strings,
    Text,
)
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.operations.layouts import MaybePathname
from notifyd.policy.sources import call as line


class Sample(Call):
    """Everything at once."""

    __slots__ = ()

    number = Int("unsigned")
    signed = Int("signed", signed=True)
    wide = Int("64 bits", width=64)
    missing = Int("in no call", default=7)
    fd = Fd()
    dirfd = DirFd()
    name = Enum({"ONE": 1, "TWO": 2})
    flags = Flags({"A": 1, "B": 2, "AB": 3, "C": 8}, base=(0x30, {"X": 0x10, "Y": 0x20}))
    mode = Mode()
    uid = Id()
    device = Device()
    pointer = Address()
    pathname = Pathname()
    maybe = MaybePathname(null="takes_null")
    takes_null = True
    path = Path(follow=False)
    text = Text()
    sized = Text(length="signed", limit=4)
    strings = Strings()


@pytest.fixture
def sample(stopped):
    """A call with one value in register 0, as every field that a test names."""

    def make(raw: int, *names: str, size: int = 0, memory=None) -> Sample:
        donor = stopped("Open", "openat", raw, size, memory=memory or {})
        fields = dict.fromkeys(names, 0)
        variant = line("openat", **fields, **({"signed": 1} if size else {}))
        return Sample(donor.note, variant, donor.origin)

    return make


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("number", 0xAB_FFFF_FFFF, 0xFFFF_FFFF),
        ("signed", 0xAB_FFFF_FFFF, -1),
        ("signed", 0x7FFF_FFFF, 0x7FFF_FFFF),
        ("wide", 0xAB_FFFF_FFFF, 0xAB_FFFF_FFFF),
        ("fd", 0xFFFF_FFFF, -1),
        ("dirfd", 0xFFFF_FF9C, -100),
        ("uid", 0xFFFF_FFFF, -1),
        ("device", 0x12345 << 12 & 0xFFF00000 | 0xABC << 8 | 0x45, (0xABC, 0x12345)),
        ("pointer", 1 << 63, 1 << 63),
    ],
)
def test_a_register_is_cut_to_what_the_kernel_looks_at(sample, name, raw, value):
    """Bits above the width are a caller's lie, and the top bit of a signed one is its sign."""
    assert getattr(sample(raw, name), name) == value


@pytest.mark.parametrize(
    ("name", "raw", "shown"),
    [
        ("number", 12, 12),
        ("dirfd", 0xFFFF_FF9C, "AT_FDCWD"),
        ("dirfd", 5, 5),
        ("name", 2, "TWO"),
        ("name", 3, 3),
        ("flags", 0x10, "X"),
        ("flags", 0x11, "X|A"),
        ("flags", 0x23, "Y|AB"),
        ("flags", 0x30, "0x30"),
        ("flags", 0x40, "0x40"),
        ("flags", 0, "0"),
        ("mode", 0o755, "0755"),
        ("device", 0x103, "1:3"),
        ("pointer", 0x1000, "0x1000"),
    ],
)
def test_an_event_reads_well(sample, name, raw, shown):
    """Names where there are names, numbers where there are none, and no bit left out."""
    assert Sample.fields[name].render(sample(raw, name)) == shown


def test_what_a_call_lacks_has_its_default(sample):
    """A field with no source is not read from anywhere."""
    call = sample(99, "number")
    assert (call.missing, call.fd, call.dirfd, call.uid, call.number) == (7, -1, -100, -1, 99)


def test_memory_is_read_once(sample, memory_of):
    """The value that a rule saw stays, whatever the target writes there afterwards."""
    call = sample(0x1000, "pathname", memory={0x1000: b"first\0"})
    assert call.pathname == b"first"
    memory_of(call).memory[0x1000] = b"later\0"
    assert call.pathname == b"first"
    assert len(memory_of(call).reads) == 1
    assert call.looked


def test_a_null_path_is_empty_where_it_may_be(sample):
    """Only the optional kind takes null; it looks at no memory then."""
    call = sample(0, "maybe")
    assert call.maybe == b""
    assert not call.looked


def test_a_path_is_resolved_from_its_fields(sample, memory_of):
    """Directory, text and the question of the last link are handed on, once."""
    call = sample(0x1000, "pathname", memory={0x1000: b"x\0"})
    assert Sample.path.render(call) is None
    assert call.path == PurePosixPath("/cwd/x")
    assert call.path is call.path
    assert memory_of(call).resolved == [(-100, b"x", False)]
    assert Sample.path.render(call) == "/cwd/x"


def test_bytes_that_are_no_text(sample):
    """What is not UTF-8 is written as escapes in an event, and kept as it is for the rule."""
    call = sample(0x1000, "pathname", memory={0x1000: b"\xff\xc3\xa9\0"})
    assert call.pathname == b"\xff\xc3\xa9"
    assert Sample.pathname.render(call) == "\\xffé"


@pytest.mark.parametrize(("size", "data"), [(2, b"ab"), (9, b"abcd"), (-1, b"")])
def test_a_text_with_a_length(sample, size, data):
    """The length that the call gives counts, up to the limit; a NUL is a byte like others."""
    call = sample(0x1000, "sized", size=size, memory={0x1000: b"abcdefghij"})
    assert call.sized == data


def test_long_vectors_are_cut_in_events(sample, memory_of):
    """An event shows the first strings, and counts the rest."""
    vector = b"".join(0x2000.to_bytes(8, "little") for _ in range(70)) + bytes(8)
    call = sample(0x1000, "strings", memory={0x1000: vector, 0x2000: b"a\0"})
    assert len(call.strings) == 70
    assert Sample.strings.render(call) == ["a"] * Strings.SHOWN + ["(and 6 more)"]


def test_a_call_that_is_answered_shows_what_it_saw(sample):
    """Values that were read stay; looking again raises."""
    call = sample(0x1000, "pathname", "maybe", memory={0x1000: b"x\0"})
    assert call.pathname == b"x"
    call.close()
    assert call.pathname == b"x"
    with pytest.raises(StaleCall):
        call.maybe  # noqa: B018


def test_a_field_of_the_class_is_the_field():
    """Docs, filters and conditions ask the class, where no call is needed."""
    for operation in OPERATIONS.values():
        for name, field in operation.fields.items():
            assert getattr(operation, name) is field
            assert field.name == name
