"""What is a program's own below /proc: in every /proc, and when it is closed to all others."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

OWN = str(Path(__file__).parent / "programs" / "own.py")
PYTHON = "/usr/bin/python3"
PATHS = """
@on(*PATH_OPERATIONS)
def looks(call):
    call.paths
    return Allow()
"""
TEXT = """
@on(*PATH_OPERATIONS)
def looks(call):
    for name in type(call).fields:
        if name.endswith("pathname") or name == "address":
            getattr(call, name)
    return Allow()
"""
HOW = ("plain", "setuid", "seteuid", "prctl", "namespace", "mount namespace", "both", "procs")
# Who opened it decides what `pagemap` shows; a thread's own name is its own even then.
APART = ("read pagemap", "write comm")


def compare(performed, natively):
    """The same lines, but for those that are known to differ."""
    kept = [
        [line for line in ran.lines if not line.startswith(APART)] for ran in (performed, natively)
    ]
    assert (performed.status, natively.status) == (0, 0), performed.err
    assert kept[0] == kept[1]
    assert len(kept[0]) > 150


@pytest.fixture
def both(rule, run, native, tmp_path):
    """Run a command natively and under rules, in the same place each time."""
    for one in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        one.chmod(one.stat().st_mode | 0o055)
    folder = tmp_path / "same"

    def runner(rules, *words):
        found = []
        for ran in (native, run):
            folder.mkdir()
            folder.chmod(0o777)
            before = () if ran is native else ("--rules", rule(rules, pulse=False), "--")
            found.append(ran(*before, *words, cwd=folder, stdin=subprocess.DEVNULL))
            shutil.rmtree(folder)
        return found

    return runner


@pytest.mark.parametrize("rules", [PATHS, TEXT], ids=["paths", "text"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="other users and namespaces need root")
def test_what_is_its_own(how, rules, both):
    """By every name that it has, after it dropped its powers, hid, or left a mount namespace."""
    natively, performed = both(rules, PYTHON, OWN, how)
    compare(performed, natively)


@pytest.mark.parametrize("how", ["plain", "setuid", "prctl", "both"])
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_in_a_pid_namespace(how, both):
    """Its own numbers are others than ours, in its own /proc and where ours is mounted, too."""
    shelter = """
    mount --rbind /proc /mnt && mount -t proc proc /proc && exec "$@"
    """
    words = ("unshare", "--pid", "--fork", "--mount", "--propagation", "private", "sh", "-c")
    natively, performed = both(PATHS, *words, shelter, "sh", PYTHON, OWN, how)
    compare(performed, natively)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_who_hides_from_a_supervisor_without_powers_is_refused(rule, run, here, tmp_path):
    """It cannot look into the program either: refused, and the event says why."""
    tmp_path.chmod(0o1777)
    rules = rule(PATHS, pulse=False)
    hides = "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); os.open('/proc/self/maps', 0)"
    before = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
    words = ("--rules", rules, "--", PYTHON, "-c", f"import ctypes, os; {hides}")
    ran = run(*words, before=before, cwd=here, broken=True)
    assert "Operation not permitted" in ran.err
    reasons = [event["reason"] for event in ran.calls if event.get("errno") == "EPERM"]
    assert any("undumpable" in reason for reason in reasons)


OLDER = """
import ctypes, errno, itertools, os
def told(path, flags, **more):
    try:
        found = os.open(path, os.O_RDWR | flags, 0o666, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    try:
        return os.fstat(found).st_ino - first
    finally:
        os.close(found)
open("file", "w").close(), os.mkdir("folder"), os.symlink("file", "link"), os.symlink("no", "leads")
first = os.stat("file").st_ino
fd, here = os.open("file", os.O_RDWR), os.open(".", os.O_RDONLY)
assert ctypes.CDLL(None).unshare(0x20000) == 0
"""
OPENS = """
CREAT, EXCL, TRUNC, NOFOLLOW = os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_NOFOLLOW
for flags in (CREAT, CREAT | TRUNC, CREAT | EXCL, CREAT | NOFOLLOW, NOFOLLOW):
    print(flags, "fd", told(f"/proc/self/fd/{fd}", flags))
    for name in ("file", "file/", "folder", "folder/", "link", ".", "folder/..", "/"):
        print(flags, name, told(name, flags, dir_fd=here))
        print(flags, "fd", name, told(f"/proc/self/fd/{here}/{name}", flags))
"""
MAKES = """
for name in ("new", "leads", "folder/new", "no"):
    print(told(name, os.O_CREAT, dir_fd=here), told(f"/proc/self/fd/{here}/{name}", os.O_CREAT))
    print(told(name.replace("leads", "lead"), os.O_CREAT | os.O_EXCL, dir_fd=here))
"""
RACES = """
mover = os.fork()
while not mover:
    try:
        os.rename("file", "aside"), os.rename("aside", "file")
    except OSError:
        pass
paths = itertools.cycle((f"/proc/self/fd/{here}/file", f"/proc/self/fd/{here}/link"))
found = set()
performed = "Seccomp:\\t2" in open("/proc/self/status").read()
for path in itertools.islice(paths, 300 if performed else 10**6):
    found.add(told(path, os.O_CREAT))
    if found - {0, "EACCES", "EAGAIN"}:
        break
os.kill(mover, 9)
print(*found)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
class TestOlder:
    """With O_CREAT, by descriptors that are older than the program's mount namespace."""

    def test_what_is_there_is_opened(self, both):
        """Nothing is made then, and flags and names mean what they mean natively."""
        natively, performed = both(PATHS, PYTHON, "-c", OLDER + OPENS)
        assert (natively.status, natively.err) == (0, "")
        assert performed.lines == natively.lines

    def test_nothing_is_made(self, both):
        """A name there could be on another mount by then: it is refused."""
        natively, performed = both(PATHS, PYTHON, "-c", OLDER + MAKES)
        assert natively.status == 0, natively.err
        assert set(performed.out.split()) == {"EACCES"}

    def test_nothing_is_made_in_a_race(self, both):
        """Where it goes while it is looked at, no new file has its name."""
        rules = PATHS.replace("*PATH_OPERATIONS", "Open")
        natively, performed = both(rules, PYTHON, "-c", OLDER + RACES)
        assert set(natively.out.split()) - {"0", "ENOENT"}
        assert "0" in performed.out.split(), performed.out
        assert set(performed.out.split()) <= {"0", "EACCES", "EAGAIN"}
