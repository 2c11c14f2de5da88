"""Sockets with a path: what a rule judged, or put in its place, is what is reached."""

import os
import socket
import threading

import pytest

from notifyd.errors import CannotPerform
from notifyd.kernel import credentials
from notifyd.perform.deed import Moved
from notifyd.perform.unix import UnixPlace


@pytest.fixture
def own():
    """/proc/self/fd, as performing has it."""
    fd = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def reached(place, method, *, makes):
    """Reach a place with a new socket, in a thread that may go where it likes; what it raised."""
    caught = []

    def work():
        credentials.unshare(credentials.CLONE_FS)
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                place.reach(lambda address: getattr(sock, method)(address[2:-1]), makes=makes)
            except (OSError, Moved, CannotPerform) as error:
                caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return caught[0] if caught else None


@pytest.mark.parametrize("name", ["s", "sub/../s", "link/s"])
def test_a_name_is_made_where_it_was_judged(own, tmp_path, name):
    """Whatever leads there."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(".")
    place = UnixPlace(own, os.fsencode(tmp_path / name), os.fsencode(tmp_path / "s"))
    assert reached(place, "bind", makes=True) is None
    assert (tmp_path / "s").is_socket()


def test_a_long_path_is_reached(own, tmp_path):
    """An address has room for 107 bytes; what a rule puts in its place may be longer."""
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    place = UnixPlace(own, os.fsencode(folder / "s"), None)
    assert reached(place, "bind", makes=True) is None
    assert (folder / "s").is_socket()
    refused = reached(place, "connect", makes=False)  # nobody listens
    assert isinstance(refused, ConnectionRefusedError)
    too_long = UnixPlace(own, os.fsencode(folder / ("s" * 108)), None)
    assert isinstance(reached(too_long, "bind", makes=True), OSError)


def test_what_has_moved_is_not_reached(own, tmp_path, monkeypatch):
    """Neither made nor connected to."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    place = UnixPlace(own, os.fsencode(tmp_path / "link" / "s"), os.fsencode(tmp_path / "s"))
    assert isinstance(reached(place, "bind", makes=True), Moved)
    assert list((tmp_path / "sub").iterdir()) == []
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(tmp_path / "sub")
        sock.bind("s")
        sock.listen()
        assert isinstance(reached(place, "connect", makes=False), Moved)


def test_proc_self_is_nobody_elses(own):
    """It would be the supervisor's."""
    place = UnixPlace(own, b"/proc/self/cwd/s", b"/s")
    assert isinstance(reached(place, "bind", makes=True), CannotPerform)
