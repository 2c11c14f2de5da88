"""LXC's proxy protocol as bytes: what LXC 5 sends is read, and nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.errors import PeerError
from notifyd.intake.lxc_wire import (
    MAX_COOKIE,
    MAX_PACKET,
    MAX_STRUCT,
    MESSAGE_HEADER,
    LxcRequest,
    decode,
    encode,
)
from notifyd.kernel.unotify import NOTIF, RESPONSE, RESPONSE_CONTINUE

NOTE = (0xFEDCBA9876543210, 4711, 0, 133, 0xC000003E, 0x7F0000001000, 1, 2, 3, 4, 5, 2**64 - 1)


def packet(
    *,
    header=(0, 100, 101, 80, 24, 64),
    note=NOTE,
    answers=NOTE[0],
    cookie=b"text",
    length=None,
    more=b"",
):
    """A request as LXC writes it, but for what is asked for."""
    data = MESSAGE_HEADER.pack(*header, len(cookie) if length is None else length)
    notif = NOTIF.pack(*note).ljust(header[3], b"\0")[: header[3]]
    response = RESPONSE.pack(answers, 0, 0, 0).ljust(header[4], b"\0")[: header[4]]
    return data + notif + response + cookie + more


def test_the_layout_of_lxc():
    """Byte for byte, as struct seccomp_notify_proxy_msg has it on 64 bits."""
    data = packet()
    assert MESSAGE_HEADER.size == 32
    assert len(data) == 32 + 80 + 24 + 4
    assert struct.unpack_from("=Qii", data) == (0, 100, 101)
    assert struct.unpack_from("=HHH", data, 16) == (80, 24, 64)
    assert struct.unpack_from("=Q", data, 24) == (4,)


def test_a_request():
    """All of it is read."""
    request = decode(packet())
    assert request.note == NOTE
    assert request.sender == (100, 101, "text")


def test_upper_halves():
    """Behind the i386 entry a register has 32 bits, whatever LXC copied; the answer has it all."""
    i386 = (*NOTE[:4], 0x40000003, *NOTE[5:])
    request = decode(packet(note=i386))
    assert request.note == (*i386[:11], 0xFFFFFFFF)
    assert encode(request, 0, 0, 0)[32:112] == NOTIF.pack(*i386)


def test_no_cookie():
    """LXC sends none where none is configured."""
    assert decode(packet(cookie=b"")).cookie == ""


def test_the_answer():
    """Header and notification as they came, then the response: 136 bytes."""
    data = packet()
    answer = encode(decode(data), -7, 0, RESPONSE_CONTINUE)
    assert len(answer) == 136
    assert answer[:112] == data[:112]
    assert RESPONSE.unpack(answer[112:]) == (NOTE[0], -7, 0, RESPONSE_CONTINUE)


def test_larger_structs():
    """A kernel may have more at the end of its structs; the answer has their sizes."""
    request = decode(packet(header=(0, 100, 101, 96, 32, 80)))
    assert request.note == NOTE
    assert request.cookie == "text"
    assert len(encode(request, 1, 0, 0)) == 32 + 96 + 32


def test_numbers_that_do_not_fit():
    """They are an error of whoever answers, not cut."""
    with pytest.raises(struct.error):
        encode(decode(packet()), 2**63, 0, 0)


BROKEN = {
    "nothing": (b"", "the header alone"),
    "half a header": (packet()[:31], "the header alone"),
    "a header alone": (packet()[:32], "its header says"),
    "half": (packet()[:100], "its header says"),
    "a byte too few": (packet()[:-1], "its header says"),
    "a byte too many": (packet(more=b"!"), "its header says"),
    "reserved": (packet(header=(1, 100, 101, 80, 24, 64)), "reserved"),
    "small notif": (packet(header=(0, 100, 101, 79, 24, 64)), "seccomp_notif of 79"),
    "small response": (packet(header=(0, 100, 101, 80, 23, 64)), "seccomp_notif_resp of 23"),
    "small data": (packet(header=(0, 100, 101, 80, 24, 63)), "seccomp_data of 63"),
    "no sizes": (packet(header=(0, 100, 101, 0, 0, 0)), "seccomp_notif of 0"),
    "large notif": (packet(header=(0, 100, 101, MAX_STRUCT + 1, 24, 64)), "seccomp_notif of"),
    "long cookie": (packet(cookie=b"x" * (MAX_COOKIE + 1)), "a cookie of"),
    "endless cookie": (packet(length=2**64 - 1), "a cookie of"),
    "cookie too long": (packet(length=5), "its header says"),
    "cookie of noise": (packet(cookie=b"\xff\xfe"), "UTF-8"),
    "other response": (packet(answers=1), "another notification"),
    "no thread": (packet(note=(NOTE[0], 0, *NOTE[2:])), "process id"),
    "impossible thread": (packet(note=(NOTE[0], 2**32 - 1, *NOTE[2:])), "process id"),
    "no monitor": (packet(header=(0, 0, 101, 80, 24, 64)), "process id"),
    "negative init": (packet(header=(0, 100, -1, 80, 24, 64)), "process id"),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken(data, reason):
    """Each is refused, and the text says why."""
    with pytest.raises(PeerError, match=reason):
        decode(data)


def read(data):
    """A request, or None for what is refused as it should be."""
    try:
        return decode(data)
    except PeerError:
        return None


@given(st.binary(max_size=400))
def test_noise(data):
    """Any bytes are a request or refused."""
    assert read(data) is None or len(data) >= 136


@given(st.data())
def test_nearly(data):
    """A good packet with some bytes changed, cut or added is never more than a request."""
    good = bytearray(packet())
    for _ in range(data.draw(st.integers(0, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good) + 20))
    request = read(bytes(good).ljust(cut, b"\0")[:cut])
    if request is not None:
        assert isinstance(request, LxcRequest)
        assert len(encode(request, 0, -1, 0)) <= MAX_PACKET


@given(
    st.tuples(st.just(0), st.integers(1, 1 << 22), st.integers(1, 1 << 22)),
    st.integers(80, MAX_STRUCT),
    st.integers(24, MAX_STRUCT),
    st.integers(64, MAX_STRUCT),
    st.text(max_size=300),
)
def test_every_good_one(start, notif, response, data, cookie):
    """What is well formed is read, whatever its sizes."""
    made = packet(header=(*start, notif, response, data), cookie=cookie.encode())
    request = decode(made)
    assert (request.note, request.cookie) == (NOTE, cookie)
    assert len(encode(request, 0, 0, 0)) == 32 + notif + response
