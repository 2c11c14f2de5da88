"""Digests: when one is computed, and when it may be kept."""

import errno
import hashlib
import os

import pytest

from notifyd.target import digests
from notifyd.target.digests import Digests


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A function that writes a file and pins it; and times that count at once."""
    monkeypatch.setattr(digests, "TIMESTAMP_SETTLE_NS", -(10**12))
    opened = []

    def pin(data, name="file"):
        (tmp_path / name).write_bytes(data)
        opened.append(os.open(tmp_path / name, os.O_PATH))
        return opened[-1]

    yield pin
    for fd in opened:
        os.close(fd)


def of(data):
    """What sha256sum(1) says."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "size", [0, 10, digests.MAX_INLINE_HASH_BYTES, digests.MAX_INLINE_HASH_BYTES + 1, 3 << 20]
)
def test_a_digest_is_that_of_the_content(file, size):
    """Whatever its size; small ones at once."""
    data = os.urandom(size)
    fd, known = file(data), Digests()
    assert known.at_once(fd) in (None, of(data))
    assert known.compute(fd, held=False) == of(data)


def test_only_what_was_held_is_kept(file):
    """What others could write meanwhile is read again."""
    data = os.urandom(1 << 17)
    fd, known = file(data), Digests()
    known.compute(fd, held=False)
    assert known.at_once(fd) is None
    known.compute(fd, held=True)
    assert known.at_once(fd) == of(data)


def test_a_change_is_another_version(file):
    """By its times or its size."""
    known = Digests()
    fd = file(b"x" * (1 << 17))
    known.compute(fd, held=True)
    file(b"y" * (1 << 17))
    assert known.at_once(fd) is None
    assert known.compute(fd, held=True) == of(b"y" * (1 << 17))


def test_what_changed_a_moment_ago_is_not_kept(file, monkeypatch):
    """Its times may not tell the next change from this one."""
    monkeypatch.setattr(digests, "TIMESTAMP_SETTLE_NS", 10**10)
    fd, known = file(b"x" * (1 << 17)), Digests()
    known.compute(fd, held=True)
    assert known.at_once(fd) is None


def test_what_is_too_big_or_no_file_is_refused(file, tmp_path, monkeypatch):
    """EFBIG, and EACCES as execve(2) says."""
    monkeypatch.setattr(digests, "MAX_HASHED_BYTES", 1000)
    with pytest.raises(OSError) as big:
        Digests().compute(file(b"x" * 1001), held=False)
    assert big.value.errno == errno.EFBIG
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / "fifo", os.O_PATH)
    with pytest.raises(OSError) as fifo:
        Digests().compute(fd, held=False)
    os.close(fd)
    assert fifo.value.errno == errno.EACCES
