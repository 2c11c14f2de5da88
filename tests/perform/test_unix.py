"""Sockets with a path: what a rule judged, or put in its place, is what is reached."""

import dataclasses
import os
import socket
import threading
from contextlib import ExitStack

import pytest

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, credentials, statmount
from notifyd.perform.credentials import Credentials
from notifyd.perform.performed_call import Moved
from notifyd.perform.stage import Stage
from notifyd.perform.unix import UnixPlace


@pytest.fixture
def a_place():
    """A place of a path, and the name that a rule saw, with a stage that is not built yet."""
    with ExitStack() as stack:
        own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, own)
        yield lambda path, seen: UnixPlace(own, path, seen, Stage(stack))


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
def test_a_name_is_made_where_it_was_judged(a_place, tmp_path, name):
    """Whatever leads there."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(".")
    place = a_place(os.fsencode(tmp_path / name), os.fsencode(tmp_path / "s"))
    assert reached(place, "bind", makes=True) is None
    assert (tmp_path / "s").is_socket()


def test_a_long_path_is_reached(a_place, tmp_path):
    """An address has room for 107 bytes; what a rule puts in its place may be longer."""
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    place = a_place(os.fsencode(folder / "s"), None)
    assert reached(place, "bind", makes=True) is None
    assert (folder / "s").is_socket()
    refused = reached(place, "connect", makes=False)  # nobody listens
    assert isinstance(refused, ConnectionRefusedError)
    too_long = a_place(os.fsencode(folder / ("s" * 108)), None)
    assert isinstance(reached(too_long, "bind", makes=True), OSError)


def test_what_has_moved_is_not_reached(a_place, tmp_path, monkeypatch):
    """Neither made nor connected to."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    place = a_place(os.fsencode(tmp_path / "link" / "s"), os.fsencode(tmp_path / "s"))
    assert isinstance(reached(place, "bind", makes=True), Moved)
    assert list((tmp_path / "sub").iterdir()) == []
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(tmp_path / "sub")
        sock.bind("s")
        sock.listen()
        assert isinstance(reached(place, "connect", makes=False), Moved)


def test_proc_self_is_nobody_elses(a_place):
    """It would be the supervisor's."""
    place = a_place(b"/proc/self/cwd/s", b"/s")
    assert isinstance(reached(place, "bind", makes=True), CannotPerform)


TEXTS = ["s", "./s", "sub/s", "sub/../link/s", "link//./s", "../{here}/sub/s"]


@pytest.mark.root
@pytest.mark.parametrize("text", [*TEXTS, "{top}/sub/s", "//{top}/../{here}/link/s"])
@pytest.mark.parametrize("ids", [(0, 0), (1234, 4321)])
def test_a_socket_is_called_what_it_was_bound_to(a_place, tmp_path_factory, text, ids):
    """Its name is the text of the target, for users too, and it is made where that was seen."""
    folder = tmp_path_factory.mktemp("s")  # short, since an address has 108 bytes
    (folder / "sub").mkdir()
    (folder / "link").symlink_to("sub")
    for one in (folder, folder / "sub"):
        os.chown(one, *ids)
    for one in (folder, folder.parent, folder.parent.parent):
        os.chmod(one, one.stat().st_mode | 0o055)
    told = text.format(top=folder, here=folder.name)
    seen = os.path.realpath(folder / os.path.dirname(told)) + "/s"
    start = os.open(folder, os.O_PATH)  # as /proc/TID/cwd: on the target's mount
    place = dataclasses.replace(
        a_place(told.encode(), seen.encode()), mounts=(statmount.mount_of(start),)
    )
    creds = Credentials(ids[0], ids[0], ids[1], ids[1], (), 0, 0)
    names = []

    def work():
        place.stage.build()
        change = creds.change(None, place.stage.powers)
        credentials.unshare(credentials.CLONE_FS)
        os.fchdir(start)
        os.umask(0o077)
        change()
        with socket.socket(socket.AF_UNIX) as sock:
            place.reach(lambda address: sock.bind(address[2:-1]), makes=True)
            names.append(sock.getsockname())
        names.append(capability.get(0).effective)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    os.close(start)
    made = os.stat(seen)
    assert names == [told, 0]
    assert (made.st_uid, made.st_gid) == ids
    assert os.listdir("/proc/self/fd")  # our own root is what it was


@pytest.mark.root
def test_a_name_that_leads_up_has_no_stage(a_place, tmp_path):
    """The socket is made all the same, and is called by its last component."""
    (tmp_path / "sub").mkdir()
    place = a_place(os.fsencode(tmp_path / "sub" / ".." / "s"), os.fsencode(tmp_path / "s"))
    assert reached(place, "bind", makes=True) is None
    assert (tmp_path / "s").is_socket()
