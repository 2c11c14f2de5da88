"""Opening the daemon's sockets: what is refused, what is replaced, and what is left behind."""

import errno
import fcntl
import grp
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.errors import UsageError
from notifyd.intake.sockets import MAX_SOCKET_PATH_BYTES, ListeningSockets, SocketAt, open_socket

pytestmark = pytest.mark.usefixtures("no_fd_left")

OPENS = """
import sys
from notifyd.errors import UsageError
from notifyd.intake.sockets import SocketAt, ListeningSockets
sys.stdin.readline()
try:
    sockets = ListeningSockets({"one": SocketAt(sys.argv[1])})
except UsageError as error:
    print("refused:", error, flush=True)
    sys.exit(2)
print("open", flush=True)
sys.stdin.readline()
sockets.close()
"""


@pytest.fixture
def daemons(tmp_path: Path):
    """Starts a process that opens a socket once it is told to."""
    running = []

    def start(path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OPENS, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, **pipes))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.communicate(timeout=20)


def go(daemon: subprocess.Popen[str]) -> None:
    """Tell it to go on."""
    assert daemon.stdin is not None
    daemon.stdin.write("\n")
    daemon.stdin.flush()


def said(daemon: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert daemon.stdout is not None
    return daemon.stdout.readline()


def refusal(at: SocketAt) -> str:
    """What is said of a socket that cannot be opened: one line with its path."""
    with pytest.raises(UsageError) as caught:
        open_socket(at)
    text = str(caught.value)
    assert "\n" not in text
    assert at.path in text
    return text


def stale(path: Path) -> None:
    """Leave a socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_it_listens(tmp_path: Path, kind: socket.SocketKind) -> None:
    """Non-blocking, close-on-exec, of the type that was asked for, and reachable."""
    path = str(tmp_path / "s")
    with open_socket(SocketAt(path, kind)) as ours, socket.socket(socket.AF_UNIX, kind) as client:
        assert not ours.getblocking()
        assert fcntl.fcntl(ours, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        with pytest.raises(BlockingIOError):
            ours.accept()
        client.connect(path)
        ours.accept()[0].close()


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_the_mode_is_what_was_asked_for(tmp_path: Path, umask: int) -> None:
    """Whatever the umask is; the directory can be entered by all."""
    path = tmp_path / "made" / "s"
    before = os.umask(umask)
    try:
        sockets = ListeningSockets({"one": SocketAt(str(path), mode=0o620)})
    finally:
        os.umask(before)
    with sockets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_nobody_connects_before_it_has_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until chmod(2) the file is closed to all, and refuses root too: it does not listen."""
    path, seen, chmod = tmp_path / "s", [], os.chmod

    def look(name: str, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            seen.append((stat.S_IMODE(path.stat().st_mode), client.connect_ex(str(path))))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", look)
    open_socket(SocketAt(str(path))).close()
    assert [mode for mode, _ in seen] == [0]
    assert seen[0][1] in (errno.ECONNREFUSED, errno.EACCES)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group(tmp_path: Path) -> None:
    """By name or number."""
    path = tmp_path / "s"
    group = grp.getgrgid(1).gr_name
    open_socket(SocketAt(str(path), group=group, owner="4242")).close()
    assert (path.stat().st_uid, path.stat().st_gid) == (4242, 1)


def test_an_unknown_group(tmp_path: Path) -> None:
    """Is named, and nothing is made."""
    text = refusal(SocketAt(str(tmp_path / "made" / "s"), group="no such group"))
    assert "no such group" in text
    assert list(tmp_path.iterdir()) == []


def test_a_directory(tmp_path: Path) -> None:
    """Is no place for a socket."""
    assert "is a directory" in refusal(SocketAt(str(tmp_path)))


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/dev/null")])
def test_a_file_that_is_no_socket(tmp_path: Path, make) -> None:
    """Stays as it is."""
    path = tmp_path / "precious"
    make(path)
    assert "remove it" in refusal(SocketAt(str(path)))
    assert [one.name for one in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("theirs", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_in_use(tmp_path: Path, theirs: socket.SocketKind) -> None:
    """Whoever listens there, with whatever type, goes on."""
    path = str(tmp_path / "s")
    with open_socket(SocketAt(path, theirs)) as first:
        assert "in use" in refusal(SocketAt(path))
        with socket.socket(socket.AF_UNIX, theirs) as client:
            client.connect(path)
            assert first.getsockname() == path


def test_in_use_and_busy(tmp_path: Path) -> None:
    """A server whose queue is full is a server."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        assert "in use" in refusal(SocketAt(path))


def test_a_stale_one_is_replaced(tmp_path: Path) -> None:
    """Its server died without a word."""
    path = tmp_path / "s"
    stale(path)
    with ListeningSockets({"one": SocketAt(str(path))}), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert list(tmp_path.iterdir()) == []


def test_of_many_daemons_at_once_one_gets_it(tmp_path: Path, daemons) -> None:
    """A stale socket is replaced once, and the daemon that did so is the one that is reached."""
    path = tmp_path / "s"
    stale(path)
    several = [daemons(path) for _ in range(6)]
    for one in several:
        go(one)
    answers = [said(one) for one in several]
    assert sorted(answer.partition(":")[0].strip() for answer in answers) == [
        "open",
        *["refused"] * 5,
    ]
    assert all("in use" in answer for answer in answers if answer.startswith("refused"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    go(several[answers.index("open\n")])
    assert several[answers.index("open\n")].wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_daemon_holds_nothing(tmp_path: Path, daemons) -> None:
    """Its socket is stale, and a lock file that it left is taken over."""
    path = tmp_path / "s"
    first = daemons(path)
    go(first)
    assert said(first) == "open\n"
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    (tmp_path / "s.lock").touch()
    with ListeningSockets({"one": SocketAt(str(path))}):
        assert [one.name for one in tmp_path.iterdir()] == ["s"]


def test_too_long(tmp_path: Path) -> None:
    """107 bytes are possible, one more is not."""
    path = f"{tmp_path}/éé"
    path += "x" * (MAX_SOCKET_PATH_BYTES - len(os.fsencode(path)))
    with ListeningSockets({"one": SocketAt(path)}):
        assert os.path.exists(path)
    assert "108 bytes long; 107 are possible" in refusal(SocketAt(path + "x"))


@pytest.mark.parametrize("path", ["", "s", "./s", "/", "/run/", "/run/\0s"])
def test_no_path(path: str) -> None:
    """What is no absolute path of a file."""
    with pytest.raises(UsageError, match="absolute and name a file"):
        open_socket(SocketAt(path))


def test_no_directory(tmp_path: Path) -> None:
    """One level is made, two are not."""
    assert "make the directory above" in refusal(SocketAt(str(tmp_path / "a" / "b" / "s")))
    (tmp_path / "file").touch()
    assert "is not a directory" in refusal(SocketAt(str(tmp_path / "file" / "s")))
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_no_permission(tmp_path: Path) -> None:
    """Somebody else's directory."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(4242, 4242, 4242)
                os.setresuid(4242, 4242, 4242)
            open_socket(SocketAt("/s"))
        except UsageError as error:
            status = 0 if "/s: no permission in /:" in str(error) else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_nothing_is_left_when_a_later_one_fails(tmp_path: Path) -> None:
    """The first ones are removed, and the directory, and those that were given are closed."""
    (tmp_path / "file").touch()
    wanted = {
        "one": SocketAt(str(tmp_path / "made" / "one")),
        "two": SocketAt(str(tmp_path / "made" / "two"), socket.SOCK_SEQPACKET),
        "three": SocketAt(str(tmp_path / "file")),
    }
    with socket.socket(socket.AF_UNIX) as given:
        with pytest.raises(UsageError, match="file"):
            ListeningSockets(wanted, {"given": given})
        assert given.fileno() == -1
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_given_ones_are_used_and_stay(tmp_path: Path) -> None:
    """Nothing is made in their place, and their names are not removed."""
    path = tmp_path / "theirs"
    given = open_socket(SocketAt(str(path)))
    wanted = {"one": SocketAt(str(tmp_path / "one")), "two": SocketAt(str(tmp_path / "two"))}
    with ListeningSockets(wanted, {"one": given}) as sockets:
        assert sockets["one"] is given
        assert sorted(sockets) == ["one", "two"]
        assert sorted(one.name for one in tmp_path.iterdir()) == ["theirs", "two"]
    assert given.fileno() == -1
    assert [one.name for one in tmp_path.iterdir()] == ["theirs"]


def test_only_what_is_still_ours_is_removed(tmp_path: Path) -> None:
    """Somebody put another file there: it stays."""
    path = tmp_path / "s"
    with ListeningSockets({"one": SocketAt(str(path))}):
        path.unlink()
        stale(path)
    assert path.is_socket()
