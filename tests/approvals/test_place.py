"""Where answers are kept: in a file that nobody else can write, or put another for."""

import os
import stat

import pytest

from notifyd.approvals.place import SIDE_FILES, claim
from notifyd.approvals.store import Store
from notifyd.errors import UsageError

NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    """A database in a folder of its own, which are made."""
    path = tmp_path / "state" / "notifyd" / "notifyd.db"
    claim(path)
    return path


def test_it_is_made_for_us_alone(path):
    """The file and its folders are made for nobody else; and taken as they are the next time."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.path.samestat(claim(path), path.stat())


@pytest.mark.root
@pytest.mark.parametrize("up", [0, 1, 2])
def test_of_another_owner(path, up):
    """Neither the file nor a folder above it may belong to somebody else, whatever its mode."""
    os.chown([path, *path.parents][up], NOBODY, NOBODY)
    with pytest.raises(UsageError, match=f"belongs to uid {NOBODY}"):
        claim(path)


@pytest.mark.parametrize("up", [0, 1, 2])
def test_others_may_write(path, up):
    """Neither the file nor a folder above it may be written by others."""
    place = [path, *path.parents][up]
    place.chmod(stat.S_IMODE(place.stat().st_mode) | stat.S_IWOTH)
    with pytest.raises(UsageError, match="others may write"):
        claim(path)


@pytest.mark.parametrize("up", [0, 1, 2])
def test_links(path, up, tmp_path):
    """A symbolic link is followed nowhere on the way, wherever it leads."""
    place = [path, *path.parents][up]
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(UsageError, match="is a symbolic link"):
        claim(path)


@pytest.mark.root
@pytest.mark.parametrize("more", SIDE_FILES)
def test_what_lies_beside(path, more):
    """What SQLite would obey beside the file has to be ours as well, and a file."""
    beside = path.with_name(path.name + more)
    beside.symlink_to("/dev/null")
    with pytest.raises(UsageError, match="not a regular file"):
        claim(path)
    beside.unlink()
    beside.touch()
    os.chown(beside, NOBODY, NOBODY)
    with pytest.raises(UsageError, match="belongs to uid"):
        claim(path)


def test_two_names(path):
    """A file that has another name may be written by it."""
    os.link(path, path.with_name("other"))
    with pytest.raises(UsageError, match="another name"):
        claim(path)


@pytest.mark.root
def test_the_store_looks(path):
    """A store of somebody else's is not opened."""
    with Store(path):
        pass
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UsageError, match="belongs to uid"):
        Store(path)
