"""Structures in the target's own layout, held against what the kernel fills in itself."""

import errno
import os
from struct import pack

import pytest

from notifyd import Stat, StatFs, Utime
from notifyd.errors import CannotPerform, TargetFault
from notifyd.kernel import files
from notifyd.perform import layouts
from notifyd.testing import make_call

SIZES = {"x86_64": 144, "aarch64": 128}


def statx(path):
    buffer = bytearray(files.STATX_SIZE)
    files.call("statx", files.AT_FDCWD, os.fsencode(path), 0x100, layouts.BASIC, buffer)
    return bytes(buffer)


@pytest.mark.parametrize("path", ["/", "/etc/hostname", "/dev/null", "/proc/self", "/dev"])
def test_stat_is_what_the_kernel_fills_in(path):
    """Byte for byte, but for the times of what changes meanwhile."""
    call = make_call(Stat, syscall="newfstatat", pathname=path)
    native = bytearray(SIZES[call.arch])
    files.call("newfstatat", files.AT_FDCWD, os.fsencode(path), native, 0x100)
    assert layouts.stat(call, statx(path), {}) == bytes(native)


def test_an_answer_can_be_changed():
    """Owner, group and device numbers, as the rule gives them."""
    call = make_call(Stat, syscall="statx", pathname="/etc/hostname")
    changed = layouts.stat(call, statx("/etc/hostname"), {"st_uid": 7, "st_rdev": (1, 3)})
    assert changed[20:24] == pack("<I", 7)
    assert changed[128:136] == pack("<II", 1, 3)


@pytest.mark.parametrize("answer", [{"st_uid": "root"}, {"st_mode": -1}, {"st_rdev": 7}])
def test_an_answer_that_is_none(answer):
    """A field that stat(2) does not have, or a value that it cannot hold."""
    call = make_call(Stat, syscall="statx", pathname="/")
    with pytest.raises(CannotPerform):
        layouts.stat(call, statx("/"), answer)


def test_times_of_every_form():
    """Utime's seconds, utimes' microseconds, utimensat's nanoseconds; null is now."""
    for syscall, data, expected in [
        ("utime", pack("<2q", 1, 2), (1, 0, 2, 0)),
        ("utimes", pack("<4q", 1, 5, 2, 6), (1, 5000, 2, 6000)),
        ("utimensat", pack("<4q", 1, 5, 2, 6), (1, 5, 2, 6)),
    ]:
        call = make_call(Utime, syscall=syscall, pathname="/", times=0x1000)
        call.target.memory[0x1000] = data
        assert layouts.times(call) == pack("=4q", *expected)
    assert layouts.times(make_call(Utime, syscall="utime", pathname="/", times=0)) is None


def test_microseconds_that_are_none():
    """EINVAL, as the kernel says of a million microseconds."""
    call = make_call(Utime, syscall="utimes", pathname="/", times=0x1000)
    call.target.memory[0x1000] = pack("<4q", 1, 1_000_000, 2, 0)
    with pytest.raises(TargetFault):
        layouts.times(call)


def statfs(call, **more):
    """What a call is told of a file system of 4096 blocks, but for what is said of it here."""
    told = {"size": 4096, "blocks": 4096, "files": 7, "fragment": 4096, **more}
    counts = told["blocks"], 1, 1, told["files"], told["files"]
    data = pack("=2q5Q2i3q32x", 0xEF53, told["size"], *counts, 1, 2, 255, told["fragment"], 0x20)
    return layouts.statfs(make_call(StatFs, syscall=call, arch="i386", pathname="/"), data)


@pytest.mark.parametrize(
    "more", [{"blocks": 1 << 32}, {"files": 1 << 32}, {"size": 1 << 32}, {"fragment": 1 << 32}]
)
def test_a_file_system_that_is_too_large_for_32_bits(more):
    """EOVERFLOW, as the kernel says; statfs64 has room for the counts."""
    with pytest.raises(TargetFault) as fault:
        statfs("statfs", **more)
    assert fault.value.errno == errno.EOVERFLOW
    if more.keys() & {"blocks", "files"}:
        assert len(statfs("statfs64", **more)) == 84
    else:
        with pytest.raises(TargetFault):
            statfs("statfs64", **more)


def test_a_file_system_that_does_not_count_its_files():
    """It says -1, for which 32 bits have room."""
    assert statfs("statfs", files=(1 << 64) - 1)[20:28] == bytes([255] * 8)
