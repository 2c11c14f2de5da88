"""The key of checkpoints: made once, for its owner alone, and refused where others can read it."""

import os
import threading

import pytest

from notifyd.errors import UsageError
from notifyd.events.signing import Signer, public_key, verifies


def test_made_once(tmp_path):
    """The first use makes it, mode 0600, and nothing else is left; later ones read it."""
    path = tmp_path / "key"
    one, other = Signer.open(str(path)), Signer.open(str(path))
    assert one.public == other.public == public_key(str(path)) == public_key(one.public.upper())
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    assert Signer.open(str(tmp_path / "another")).public != one.public


def test_made_by_several_at_once(tmp_path):
    """All of them have the same one."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(Signer.open(str(tmp_path / "key")).public))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_signatures(tmp_path):
    """One is good for its key and its digest only; garbage is good for nothing."""
    signer, other = (Signer.open(str(tmp_path / name)) for name in "ab")
    signature = signer.sign(b"d" * 32)
    assert verifies(signer.public, b"d" * 32, signature)
    assert not verifies(signer.public, b"e" * 32, signature)
    assert not verifies(other.public, b"d" * 32, signature)
    for public, given in ((signer.public, b""), ("", signature), ("zz", b"!"), ("é", signature)):
        assert not verifies(public, b"d" * 32, given)


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "ab" * 31])
def test_no_key(tmp_path, text):
    """A file of anything else is never written over."""
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="is not a key"):
        Signer.open(str(path))
    assert path.read_text() == text


def test_a_key_that_others_can_read(tmp_path):
    """It is no secret any more."""
    path = tmp_path / "key"
    Signer.open(str(path))
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        Signer.open(str(path))


def test_no_place_for_a_key(tmp_path):
    """A link, a folder, a folder that is not there: one line with what to do."""
    Signer.open(str(tmp_path / "key"))
    (tmp_path / "link").symlink_to("key")
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", ".", "none/key", "fifo"):
        with pytest.raises(UsageError) as caught:
            Signer.open(str(tmp_path / name))
        assert "\n" not in str(caught.value)
