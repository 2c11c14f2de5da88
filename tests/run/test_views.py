"""A name counts only in the program's own view: what lies in another mount namespace has none."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.kernel import mounts

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root"),
]
WAYS = Path(__file__).parent / "programs" / "ways.py"
LOOK = """
@on(*PATH_OPERATIONS)
def look(call):
    call.paths
    return Allow()
"""
FOREIGN = [
    "root",
    "cwd",
    "fd",
    "task",
    "up",
    "link",
    "chdir",
    "fchdir",
    "dirfd",
    "own-fd",
    "dev-fd",
]
FOREIGN += ["chroot"]
DEEDS = ["open", "stat", "make", "mkdir", "symlink", "link", "unlink", "chmod", "rename"]
BY_PATH = ["truncate", "connect", "exec"]


def tree(other):
    """All that there is in both places, as far as a deed could change it."""
    return [
        (name, (where / name).lstat().st_mode, (where / name).lstat().st_size)
        for where in (other.place, other.place.parent / "other")
        for name in sorted(os.listdir(where))
    ]


class Neighbour:
    """A process that sleeps, in a mount namespace of its own or in ours, and what it sees.

    Attributes:
        pid: its number.
        place: a directory, which is another one to it if it is in a namespace of its own.
    """

    def __init__(self, folder: Path, *, apart: bool) -> None:
        self.place = folder / "place"
        self.place.mkdir()
        other = folder / "other"
        other.mkdir()
        for where in (self.place, other):
            (where / "file").write_text(where.name)
            shutil.copy("/bin/true" if where is self.place else "/bin/false", where / "program")
            with socket.socket(socket.AF_UNIX) as listening:
                before = os.getcwd()
                os.chdir(where)  # an address has 108 bytes
                listening.bind("socket")
                os.chdir(before)
        mount = f"mount --bind {other} {self.place} && " if apart else ""
        script = f"{mount}cd {self.place} && exec 9<. && echo && exec sleep 1000"
        words = ["unshare", "--mount", "--propagation", "private"] if apart else []
        self._process = subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"\n"
        self.pid = self._process.pid

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def neighbour(tmp_path):
    """Make a neighbour: `neighbour(apart=True)`."""
    made = []

    def make(*, apart):
        made.append(Neighbour(tmp_path, apart=apart))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def go(run, native, rule, tmp_path):
    """Go a way and do deeds, natively or performed; descriptor 9 is a directory over there."""

    def goer(way, deeds, other, *, performed, start=None, inside=(), text=LOOK):
        before = ("sh", "-c", 'exec 9<&0 </dev/null; exec "$@"', "sh")
        words = [*inside, sys.executable, str(WAYS), way, deeds, str(other.pid), str(other.place)]
        seen = f"/proc/{other.pid}/root{other.place}"
        stdin = os.open(seen, os.O_RDONLY) if start is None else start
        try:
            if performed:
                more = {"stdin": stdin, "cwd": tmp_path, "before": before}
                return run("--rules", rule(text), "--", *words, **more)
            return native(*before, *words, stdin=stdin, cwd=tmp_path)
        finally:
            if start is None:
                os.close(stdin)
            (tmp_path / "link").unlink(missing_ok=True)

    return goer


def refused(ran, deeds=1):
    """Whether a program was refused so many deeds, since what it meant has no name."""
    told = [event for event in ran.calls if "no name" in event.get("reason", "")]
    return ran.lines == ["EACCES"] * deeds and len(told) >= deeds


@pytest.mark.parametrize("way", FOREIGN)
def test_what_lies_in_another_namespace_has_no_name(way, go, neighbour):
    """Whichever way it is reached: natively it can be read, a rule that judges names refuses it."""
    other = neighbour(apart=True)
    assert go(way, "open", other, performed=False).lines == ["ok other"]
    ran = go(way, "open", other, performed=True)
    assert refused(ran), (ran.out, ran.err, ran.calls[-2:])


@pytest.mark.parametrize("way", FOREIGN)
def test_what_lies_in_our_own_has_its_name(way, go, neighbour):
    """The same ways, where the other process sees what everybody sees."""
    other = neighbour(apart=False)
    assert go(way, "open", other, performed=False).lines == ["ok place"]
    ran = go(way, "open", other, performed=True)
    assert ran.lines == ["ok place"], (ran.out, ran.err, ran.calls[-2:])


@pytest.mark.parametrize("way", ["root", "chdir", "dirfd", "own-fd", "chroot"])
def test_no_deed_is_done_there(way, go, neighbour):
    """Nothing is made, removed, changed, executed or connected to, and nothing is told."""
    deeds = DEEDS + (BY_PATH if way != "dirfd" else [])
    other = neighbour(apart=True)
    before = tree(other)
    ran = go(way, ",".join(deeds), other, performed=True)
    assert refused(ran, len(deeds)), (ran.out, ran.err)
    assert tree(other) == before


@pytest.mark.parametrize("way", ["here", "relative", "own-cwd", "own-root"])
def test_who_is_in_a_namespace_has_its_names(way, go, neighbour):
    """A program in a mount namespace of its own does everything there as natively."""
    deeds = ",".join(["truncate", *DEEDS, "exec"])
    inside = ("unshare", "--mount", "--propagation", "private", "--")
    ran = []
    for performed in (False, True):
        other = neighbour(apart=True)
        enter = ("nsenter", f"--mount=/proc/{other.pid}/ns/mnt", "--", *inside)
        found = go(way, deeds, other, performed=performed, inside=enter)
        other.close()
        ran.append((found.status, found.lines, tree(other)))
        for one in (other.place, other.place.parent / "other"):
            shutil.rmtree(one)
    assert ran[0] == ran[1]
    assert ran[0][:2] == (1, ["ok", "ok o", "ok 1", *["ok"] * 7])


@pytest.mark.parametrize("way", ["dirfd", "fchdir", "own-fd", "dev-fd"])
def test_a_mount_that_is_mounted_nowhere_has_no_names(way, go, neighbour):
    """open_tree(2) with OPEN_TREE_CLONE gives its files the names of others below the root."""
    deeds = ["open", "make", "stat", "fchmod"]
    other = neighbour(apart=False)
    before = tree(other)
    detached = mounts.copy(os.fsencode(other.place))
    try:
        natively = go(way, "open", other, performed=False, start=detached)
        assert natively.lines == ["ok place"]
        ran = go(way, ",".join(deeds), other, performed=True, start=detached)
        assert refused(ran, len(deeds)), (ran.out, ran.err, ran.calls[-2:])
        assert tree(other) == before
    finally:
        os.close(detached)


def test_a_mount_that_was_taken_away_has_no_names(go, tmp_path, neighbour):
    """A lazy umount(2) leaves descriptors, whose names are those of others below the root."""
    other = neighbour(apart=False)
    gone = tmp_path / "gone"
    gone.mkdir()
    subprocess.run(["mount", "--bind", other.place, gone], check=True)
    start = os.open(gone, os.O_RDONLY)
    subprocess.run(["umount", "--lazy", gone], check=True)
    try:
        assert go("dirfd", "open", other, performed=False, start=start).lines == ["ok place"]
        assert refused(go("dirfd", "open", other, performed=True, start=start))
    finally:
        os.close(start)


OLDER = """
import ctypes, os, sys
place, other = os.open(sys.argv[1], os.O_PATH), os.open(sys.argv[2], os.O_PATH)
assert not ctypes.CDLL(None).unshare(0x20000)
libc = ctypes.CDLL(None)
assert not libc.mount(b"none", b"/", None, 0x44000, None)
assert not libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), None, 0x1000, None)
for start in (place, other):
    try:
        print(len(os.read(os.open("file", os.O_RDONLY, dir_fd=start), 5)))
    except OSError as error:
        print(error.strerror)
try:
    os.mkdir("new", dir_fd=place)
    print("made")
except OSError as error:
    print(error.strerror)
"""


def test_a_descriptor_that_is_older_than_its_namespace(run, native, rule, neighbour, tmp_path):
    """What it leads to is read where its name means the same file still, and else refused."""
    other = neighbour(apart=False)
    words = [sys.executable, "-c", OLDER, str(other.place), str(tmp_path / "other")]
    assert native(*words).lines == ["5", "5", "made"]
    (other.place / "new").rmdir()
    ran = run("--rules", rule(LOOK), "--", *words)
    no = os.strerror(errno.EACCES)
    assert ran.lines == ["5", no, no], (ran.out, ran.err, ran.calls[-2:])


SWAP = """
import os, sys, threading
mine, theirs = os.open(sys.argv[1], os.O_RDONLY), 9
over = False
def swap():
    while not over:
        {swap}
thread = threading.Thread(target=swap)
thread.start()
found = set()
for _ in range(int(sys.argv[2])):
    if any(one == "other" for one in found):
        break
    try:
        fd = {open}
    except OSError as error:
        found.add(error.errno)
    else:
        found.add(os.read(fd, 99).decode().strip())
        os.close(fd)
over = True
thread.join()
print(*sorted(map(str, found)))
"""
SWAPS = {
    "cwd": ("os.fchdir(theirs); os.fchdir(mine)", "os.open('file', os.O_RDONLY)"),
    "dirfd": (
        "os.dup2(theirs, 50); os.dup2(mine, 50)",
        "os.open('file', os.O_RDONLY, dir_fd=50)",
    ),
    "fd": (
        "os.dup2(theirs, 50); os.dup2(mine, 50)",
        "os.open('/proc/self/fd/50/file', os.O_RDONLY)",
    ),
}


@pytest.mark.parametrize("what", SWAPS)
def test_what_is_exchanged_for_one_elsewhere_is_not_opened(what, run, native, rule, neighbour):
    """A thread exchanges where a path begins for its namesake in another namespace, and back."""
    other = neighbour(apart=True)
    swap, opening = SWAPS[what]
    program = SWAP.replace("{swap}", swap).replace("{open}", opening)
    stdin = os.open(f"/proc/{other.pid}/root{other.place}", os.O_RDONLY)
    before = ("sh", "-c", 'exec 9<&0 </dev/null; exec "$@"', "sh")
    words = [sys.executable, "-c", program, str(other.place)]
    try:
        assert "other" in native(*before, *words, "1000000", stdin=stdin).out
        ran = run("--rules", rule(LOOK), "--", *words, "3000", stdin=stdin, before=before)
    finally:
        os.close(stdin)
    found = set(ran.out.split())
    assert "place" in found, ran.out
    assert found <= {"place", str(errno.EACCES), str(errno.EAGAIN), str(errno.EBADF)}


def test_the_program_has_a_name_if_its_file_has(run, rule, neighbour, tmp_path):
    """A rule that goes by `call.process.exe` is not told that of a file in another namespace."""
    other = neighbour(apart=True)
    for where in (other.place, tmp_path / "other"):
        shutil.copy("/bin/cat", where / "program")
    text = """
        from pathlib import PurePosixPath
        @on(Open)
        def by_program(call):
            return Allow() if call.process.exe == PurePosixPath({!r}) else Deny(errno.EPERM)
        """
    by_name = rule(text.format(str(other.place / "program")))
    own = run("--rules", by_name, "--", str(other.place / "program"), "/dev/null")
    assert own.status == 0, own.err
    foreign = f"/proc/{other.pid}/root{other.place}/program"
    ran = run("--rules", by_name, "--", foreign, "/dev/null")
    assert ran.status == 127
    assert any("no name" in event.get("reason", "") for event in ran.calls), ran.calls


DELETED = """
import os
for name in ("x", "y", "y (deleted)"):
    open(name, "w").write(name)
fds = [os.open(name, os.O_RDONLY) for name in ("x", "y", "y (deleted)")]
os.unlink("x"), os.unlink("y")
for fd in fds:
    try:
        print(os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 99).decode())
    except OSError as error:
        print(error.errno)
"""


def test_what_is_deleted_is_not_called_as_another(run, native, rule, tmp_path):
    """What the kernel adds, ` (deleted)`, may be the end of a real file's name."""
    words = [sys.executable, "-c", DELETED]
    assert native(*words, cwd=tmp_path).lines == ["x", "y", "y (deleted)"]
    ran = run("--rules", rule(LOOK), "--", *words, cwd=tmp_path)
    assert ran.lines == ["x", str(errno.EACCES), "y (deleted)"]
