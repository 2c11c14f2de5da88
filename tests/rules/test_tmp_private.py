"""A /tmp of one's own."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from notifyd import Allow, Bind, Connect, Deny, Exec, IoUring, Open, Rename
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["tmp-private"]


@pytest.fixture
def rules():
    """The rules, whose directories are made at the first call."""
    return load_rules(*RULES)


def test_paths_lead_to_new_directories(rules):
    """One for each, which others cannot list, and which all users of the command can use."""
    tmp = Path(verdict_of(rules, make_call(Open, path="/tmp/f")).changes["path"]).parent
    other = Path(verdict_of(rules, make_call(Open, path="/var/tmp/f")).changes["path"]).parent
    assert tmp != other
    assert tmp.parent == other.parent
    assert (tmp.stat().st_mode & 0o7777, other.stat().st_mode & 0o7777) == (0o1777, 0o1777)
    assert tmp.parent.stat().st_mode & 0o7777 == 0o711
    moved = verdict_of(rules, make_call(Rename, oldpath="/tmp/a", newpath="/x"))
    assert moved == Allow(oldpath=moved.changes["oldpath"])
    assert moved.changes["oldpath"].parent == tmp
    assert verdict_of(rules, make_call(Open, path=tmp / "f")) == Allow()
    assert verdict_of(rules, make_call(Open, path="/home/tmp")) == Allow()


def test_what_cannot_be_led_there_is_refused(rules):
    """Programs; sockets are led there too."""
    assert verdict_of(rules, make_call(Exec, path="/tmp/x")).errno == errno.EACCES
    bind, connect = make_call(Bind, path="/tmp/x"), make_call(Connect, path="/tmp/x")
    assert verdict_of(rules, bind).changes == verdict_of(rules, connect).changes
    assert verdict_of(rules, bind).changes["path"].name == "x"
    assert verdict_of(rules, make_call(Connect, path="/run/x")) == Allow()
    assert isinstance(verdict_of(rules, make_call(IoUring)), Deny)


def test_nobody_else_sees_what_is_made(run, system_python, user):
    """It is there for the command, with the command's owner, and gone afterwards."""
    before = {one for one in os.listdir("/tmp") if one.startswith("notifyd-")}
    code = """if True:
        import os, tempfile
        assert os.listdir("/tmp") == [] and os.listdir("/var/tmp") == []
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
            open(folder + "/f", "w").write("x")
            assert os.listdir(folder) == ["f"] and os.listdir("/tmp") == [os.path.basename(folder)]
            assert os.stat(folder).st_uid == os.getuid()
            os.rename(folder + "/f", "/var/tmp/notifyd-test-made")
        assert os.listdir("/tmp") == []
        os.chdir("/tmp")
        open("notifyd-test-made", "w").write("y")
        print(open("/tmp/notifyd-test-made").read(), os.stat("/tmp").st_mode & 0o7777)
    """
    words = [system_python, "-I", "-c", code]
    ran = run(RULES, *words, user=user)
    assert (ran.status, ran.out.split()) == (0, ["y", str(0o1777)]), ran.err
    assert not Path("/tmp/notifyd-test-made").exists()
    assert not Path("/var/tmp/notifyd-test-made").exists()
    after = {one for one in os.listdir("/tmp") if one.startswith("notifyd-")}
    assert after <= before


def test_sockets_are_private_too(run, system_python, everybodys, user):
    """Somebody's real one is not found, one's own is."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(everybodys / "socket"))
        (everybodys / "socket").chmod(0o777)
        sock.listen()
        code = """if True:
            import os, socket, sys
            ours, theirs = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
            path = sys.argv[1]
            print(theirs.connect_ex(path))
            os.mkdir(os.path.dirname(path))
            os.umask(0o77)
            ours.bind(path)
            ours.listen()
            theirs.connect(path)
            theirs.sendall(b"hello")
            print(ours.accept()[0].recv(9).decode(), oct(os.stat(path).st_mode))
        """
        words = [system_python, "-I", "-c", code, str(everybodys / "socket")]
        ran = run(RULES, *words, user=user)
    assert ran.out.split() == [str(errno.ENOENT), "hello", oct(stat.S_IFSOCK | 0o700)], ran.err
