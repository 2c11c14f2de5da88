"""ioctl_tty(2) at real pseudo-terminals."""

import os

import pytest

from notifyd.kernel import tty


@pytest.fixture
def pair():
    """The two ends of a pseudo-terminal."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_both_ends_lead_to_one_terminal(pair):
    """The master stands for the terminal, whose number is its file's."""
    master, slave = pair
    assert tty.device(master) == tty.device(slave) == os.fstat(slave).st_rdev
    assert os.ttyname(slave) == f"/dev/pts/{tty.index(master)}"


def test_what_is_no_terminal():
    """Other devices and files are ENOTTY."""
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError, match="Inappropriate"):
        tty.device(null)
    os.close(null)


def test_the_other_end(pair):
    """It is opened with no name, and is the very same file."""
    master, slave = pair
    found = tty.open_peer(master)
    assert os.path.samestat(os.fstat(found), os.fstat(slave))
    assert not os.get_inheritable(found)
    os.close(found)


def test_the_window(pair):
    """Rows, columns and pixels, the same at both ends."""
    master, slave = pair
    tty.set_window(master, (30, 77, 1, 2))
    assert tty.window(slave) == (30, 77, 1, 2)
