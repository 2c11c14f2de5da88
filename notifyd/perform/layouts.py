"""Structures of the target in its own layout: what stat and statfs answer, what utime is given.

One statx(2) is done for every form of stat; here it becomes what the target's call fills in. From
arch/x86/include/uapi/asm/stat.h, asm/compat.h, asm-generic/stat.h and statfs.h in Linux.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, NamedTuple

from notifyd.errors import CannotPerform, TargetFault
from notifyd.policy.call import Call

__all__ = ["ANSWERS", "BASIC", "stat", "statfs", "times"]

BASIC = 0x7FF  # STATX_BASIC_STATS
_STATX = Struct("=IIQIIIH2xQQQQ" + "qI4x" * 4 + "IIII")
_X86_64 = Struct("<QQQIII4xQqqqqQqQqQ24x")
_AARCH64 = Struct("<QQIIIIQ8xqi4xqqQqQqQ8x")
_I386_64 = Struct("<Q4xIIIIIQ4xqIQ6IQ")
_I386 = Struct("<IIHHHHIIII6I8x")
_I386_OLD = Struct("<7H2xIIII")
_STATFS = Struct("=2q5Q2i3q32x")
_STATFS_I386 = Struct("<7I2i3I16x")
_STATFS64_I386 = Struct("<2I5Q2i3I16x")
_ALL = (1 << 64) - 1
_LFS = 0x7FFFFFFF  # the largest size that a program without large files can be told

ANSWERS: Mapping[str, str] = MappingProxyType(
    {"st_uid": "uid", "st_gid": "gid", "st_mode": "mode", "st_rdev": "rdev"}
)


class _Status(NamedTuple):
    """What struct statx says; times are (seconds, nanoseconds), devices (major, minor)."""

    blksize: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    atime: tuple[int, int]
    mtime: tuple[int, int]
    ctime: tuple[int, int]
    rdev: tuple[int, int]
    dev: tuple[int, int]


def stat(call: Call, data: bytes, answer: Mapping[str, Any]) -> bytes:
    """The bytes that a call of the stat family leaves in its buffer.

    Args:
        call: for its system call and architecture.
        data: struct statx, 256 bytes.
        answer: what is to be told otherwise, by the names in `ANSWERS`.

    Raises:
        TargetFault: EOVERFLOW: a value that its layout has no room for.
        CannotPerform: an answer that is none.
    """
    values = {ANSWERS[name]: _number(name, value) for name, value in answer.items()}
    if call.syscall == "statx":
        return _changed_statx(data, values)
    status = _status(data)._replace(**values)
    return _layout(call)(status)


def _number(name: str, value: Any) -> Any:
    if name == "st_rdev":
        if isinstance(value, tuple) and len(value) == 2:
            return value
    elif isinstance(value, int) and 0 <= value < 1 << 32:
        return value
    raise CannotPerform(f"{name}={value!r} cannot be answered")


def _status(data: bytes) -> _Status:
    (_, blksize, _, nlink, uid, gid, mode, ino, size, blocks, _, *rest) = _STATX.unpack_from(data)
    atime, _, ctime, mtime = zip(rest[0:8:2], rest[1:8:2], strict=True)
    rdev, dev = tuple(rest[8:10]), tuple(rest[10:12])
    return _Status(
        blksize, nlink, uid, gid, mode, ino, size, blocks, atime, mtime, ctime, rdev, dev
    )


def _changed_statx(data: bytes, values: Mapping[str, Any]) -> bytes:
    changed = bytearray(data)
    for name, (at, size) in {"uid": (20, 4), "gid": (24, 4), "mode": (28, 2)}.items():
        if name in values:
            changed[at : at + size] = (values[name] & (1 << 8 * size) - 1).to_bytes(size, "little")
    if "rdev" in values:
        changed[128:136] = b"".join(one.to_bytes(4, "little") for one in values["rdev"])
    return bytes(changed)


def _layout(call: Call) -> Callable[[_Status], bytes]:
    if call.arch == "x86_64":
        return _x86_64
    if call.arch == "aarch64":
        return _aarch64
    if call.syscall.startswith("old"):
        return _i386_old
    return _i386_64 if call.syscall.endswith("64") else _i386


def _device(pair: tuple[int, int]) -> int:
    major, minor = pair
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12  # new_encode_dev()


def _x86_64(s: _Status) -> bytes:
    return _X86_64.pack(
        _device(s.dev), s.ino, s.nlink, s.mode, s.uid, s.gid, _device(s.rdev), s.size, s.blksize,
        s.blocks, *s.atime, *s.mtime, *s.ctime,
    )  # fmt: skip


def _aarch64(s: _Status) -> bytes:
    return _AARCH64.pack(
        _device(s.dev), s.ino, s.mode, s.nlink, s.uid, s.gid, _device(s.rdev), s.size, s.blksize,
        s.blocks, *s.atime, *s.mtime, *s.ctime,
    )  # fmt: skip


def _i386_64(s: _Status) -> bytes:
    low = 0xFFFFFFFF
    times = [part & low for pair in (s.atime, s.mtime, s.ctime) for part in pair]
    return _I386_64.pack(
        _device(s.dev), s.ino & low, s.mode, s.nlink, s.uid, s.gid, _device(s.rdev), s.size,
        s.blksize, s.blocks, *times, s.ino,
    )  # fmt: skip


def _i386(s: _Status) -> bytes:
    low = 0xFFFFFFFF
    if s.ino > low or s.nlink > 0xFFFF or s.size > _LFS:
        raise _overflow()
    times = [part & low for pair in (s.atime, s.mtime, s.ctime) for part in pair]
    return _I386.pack(
        _device(s.dev), s.ino, s.mode, s.nlink, _short_id(s.uid), _short_id(s.gid),
        _device(s.rdev), s.size, s.blksize, s.blocks & low, *times,
    )  # fmt: skip


def _i386_old(s: _Status) -> bytes:
    if s.ino > 0xFFFF or s.nlink > 0xFFFF or s.size > _LFS:
        raise _overflow()
    devices = []
    for major, minor in (s.dev, s.rdev):
        if major > 0xFF or minor > 0xFF:
            raise _overflow()
        devices.append(major << 8 | minor)
    return _I386_OLD.pack(
        devices[0], s.ino, s.mode, s.nlink, _short_id(s.uid), _short_id(s.gid), devices[1],
        s.size, *(pair[0] & 0xFFFFFFFF for pair in (s.atime, s.mtime, s.ctime)),
    )  # fmt: skip


def statfs(call: Call, data: bytes) -> bytes:
    """The bytes that a call of the statfs family leaves in its buffer.

    Args:
        call: for its system call and word size.
        data: struct statfs of our own, 120 bytes.

    Raises:
        TargetFault: EOVERFLOW: a value that its layout has no room for; EINVAL: statfs64 with
            another size than its structure has.
    """
    if call.word_size == 8:
        return data
    low = 0xFFFFFFFF
    kind, size, blocks, free, available, files, free_files, *fsid, name, fragment, flags = (
        _STATFS.unpack(data)
    )
    counts = blocks, free, available, files, free_files
    wide = call.syscall.endswith("64")
    # f_files and f_ffree may be -1, put_compat_statfs() in Linux.
    told = (*counts[:3], *(count for count in counts[3:] if count != _ALL)) if not wide else ()
    if any(number >> 32 for number in (size, fragment, *told)):
        raise _overflow()
    layout = _STATFS64_I386 if wide else _STATFS_I386
    if not wide:
        counts = tuple(count & low for count in counts)
    return layout.pack(kind & low, size, *counts, *fsid, name, fragment, flags & low)


def _short_id(number: int) -> int:
    return number if number <= 0xFFFF else 65534  # overflowuid


def _overflow() -> TargetFault:
    return TargetFault("a value that the call's layout has no room for", errno.EOVERFLOW)


# -- utime


def times(call: Call) -> bytes | None:
    """The two times that a call of the utime family is given, as utimensat(2) takes them.

    Returns:
        32 bytes, or None for now.

    Raises:
        TargetFault: they cannot be read, or EINVAL: microseconds that are none.
    """
    address = call.raw("times", 0)
    if not address:
        return None
    word = call.word_size
    wide = 8 if word == 8 or call.syscall == "utimensat_time64" else 4
    count = 2 if call.syscall == "utime" else 4
    data = call.read(address, count * wide)
    numbers = Struct(f"<{count}{'q' if wide == 8 else 'i'}").unpack(data)
    if call.syscall == "utime":
        numbers = (numbers[0], 0, numbers[1], 0)
    elif not call.syscall.startswith("utimensat"):
        if not all(0 <= micro < 1_000_000 for micro in numbers[1::2]):
            raise TargetFault("microseconds out of range", errno.EINVAL)
        numbers = (numbers[0], numbers[1] * 1000, numbers[2], numbers[3] * 1000)
    return Struct("=4q").pack(*numbers)
