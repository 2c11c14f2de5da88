"""Whose files are obeyed: nobody else's, by whatever way they are reached."""

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from notifyd.errors import UsageError
from notifyd.policy.load import load_file
from notifyd.policy.trusted import check_imports, open_trusted, read_trusted

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
RULE = "from notifyd import Uname, Deny, always\nalways(Deny(1), Uname)\n"


@pytest.fixture
def tree():
    """`real/rule.py`, and folders of ours, of nobody's, and of everybody's with the sticky bit."""
    with tempfile.TemporaryDirectory(prefix="nd-") as name:  # others may enter it
        made = Path(name)
        made.chmod(0o755)
        for folder in ("real", "etc", "alice", "shared"):
            (made / folder).mkdir()
        (made / "real/rule.py").write_text(RULE)
        if not os.geteuid():
            os.chown(made / "alice", NOBODY, NOBODY)
        (made / "shared").chmod(0o1777)
        yield made


def _link(place: Path, target: str, owner: int = 0) -> Path:
    place.symlink_to(target)
    if owner:
        os.lchown(place, owner, owner)
    return place


def test_ways_of_ours(tree, monkeypatch):
    """Links of ours, relative and absolute, over one another, with dots, from here and afar."""
    _link(tree / "etc/one", "../real")
    _link(tree / "etc/two", f"{tree}/etc/./one/../real/rule.py")
    _link(tree / "shared/three", "../etc/two")
    monkeypatch.chdir(tree / "etc")
    for way in (tree / "etc/one/rule.py", tree / "etc/two", tree / "shared/three", "two", "./two"):
        assert read_trusted(way).decode() == RULE
    assert load_file("./two").declared


@pytest.mark.root
@pytest.mark.parametrize("last", ["link", "folder"])
@pytest.mark.parametrize("links", [0, 1, 2, 5])
def test_a_link_behind_links(tree, links, last):
    """However many of ours lead there: another user's link, or one in another's folder, is none."""
    if last == "link":
        _link(tree / "shared/last", "../real/rule.py", NOBODY)
        way = "shared/last"
    else:
        _link(tree / "alice/last", "../real/rule.py")
        way = "alice/last"
    for number in range(links):
        _link(tree / f"etc/{number}", f"../{way}")
        way = f"etc/{number}"
    with pytest.raises(UsageError, match=f"belongs to uid {NOBODY}: chown it"):
        read_trusted(tree / way)
    with pytest.raises(UsageError, match=f"belongs to uid {NOBODY}: chown it"):
        load_file(str(tree / way))


def test_a_second_name(tree):
    """Others may give one to a file of ours where they may write, and so choose which is obeyed."""
    (tree / "shared/rule.py").write_text(RULE)
    assert read_trusted(tree / "shared/rule.py")
    os.link(tree / "real/rule.py", tree / "shared/again.py")
    with pytest.raises(UsageError, match="has a second name"):
        read_trusted(tree / "shared/again.py")
    assert read_trusted(tree / "real/rule.py")  # where nobody else can do that, it is no matter


def _acl(*entries: tuple[int, int, int]) -> bytes:
    """As acl(5) has it: owner, owning group and others are always there."""
    lines = sorted([(0x01, 6, 2**32 - 1), (0x04, 4, 2**32 - 1), (0x20, 4, 2**32 - 1), *entries])
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *line) for line in lines)


@pytest.mark.root
@pytest.mark.parametrize(
    ("entries", "good"),
    [
        ([(0x02, 6, NOBODY), (0x10, 6, 2**32 - 1)], False),
        ([(0x08, 6, NOBODY), (0x10, 6, 2**32 - 1)], False),
        ([(0x02, 2, NOBODY), (0x10, 7, 2**32 - 1)], False),
        ([(0x02, 6, NOBODY), (0x10, 4, 2**32 - 1)], True),
        ([(0x02, 4, NOBODY), (0x10, 6, 2**32 - 1)], True),
        ([(0x02, 6, 0), (0x10, 6, 2**32 - 1)], True),
    ],
    ids=["a user", "a group", "only writing", "masked", "reading", "root"],
)
@pytest.mark.parametrize("where", ["real/rule.py", "real"])
def test_lists_of_access(tree, entries, good, where):
    """Who may write by an ACL may write, if its mask lets them; the kernel says so, too."""
    place = tree / where
    place.chmod(0o755)
    os.setxattr(place, "system.posix_acl_access", _acl(*entries))
    test = subprocess.run(
        [*AS_NOBODY, "test", "-w", str(place)],
        check=False,
    )
    if where == "real/rule.py" and entries[0][2] == NOBODY:
        assert (test.returncode != 0) is good
    if good:
        assert read_trusted(tree / "real/rule.py")
    else:
        with pytest.raises(UsageError, match="others may write it"):
            read_trusted(tree / "real/rule.py")


@pytest.mark.root
def test_another_group(tree):
    """One that is not root's, whoever of it we are."""
    os.chown(tree / "real/rule.py", 0, 50)
    assert read_trusted(tree / "real/rule.py")
    (tree / "real/rule.py").chmod(0o664)
    with pytest.raises(UsageError, match="others may write it: chmod go-w"):
        read_trusted(tree / "real/rule.py")
    code = "import os, sys; os.setegid(50); sys.path[:0] = sys.argv[2:]; " + (
        "from notifyd.policy.trusted import read_trusted; read_trusted(sys.argv[1])"
    )
    words = [sys.executable, "-c", code, str(tree / "real/rule.py"), *sys.path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert "others may write it" in done.stderr


def test_what_is_no_file(tree):
    """It is not opened: a FIFO would wait, and reading a device may do something."""
    os.mkfifo(tree / "real/fifo")
    for way in ("real/fifo", "real", "/dev/null"):
        with pytest.raises(OSError, match="no regular file"):
            open_trusted(tree / way)
    _link(tree / "real/round", "round")
    with pytest.raises(OSError, match="Too many levels"):
        open_trusted(tree / "real/round")
    with pytest.raises(NotADirectoryError):
        open_trusted(tree / "real/rule.py/x")
    with pytest.raises(UsageError, match="its link /proc/self"), open(tree / "real/rule.py"):
        open_trusted("/proc/self/fd/0")
    with (tree / "real/large").open("wb") as file:
        file.truncate(1 << 25)
    with pytest.raises(UsageError, match="too many"):
        read_trusted(tree / "real/large")


def test_nothing_stays_open(tree):
    """Whatever it comes to."""
    _link(tree / "etc/way", "../real/rule.py")
    before = len(os.listdir("/proc/self/fd"))
    for way in ("etc/way", "etc/none", "real", "etc/way/x"):
        with contextlib.suppress(OSError, UsageError):
            read_trusted(tree / way)
    assert len(os.listdir("/proc/self/fd")) == before


FLIP = """
import os, sys
good, evil, link = sys.argv[1:]
os.symlink(good, link)
print(flush=True)
while True:
    for target in (good, evil):
        os.symlink(target, link + "~")
        os.rename(link + "~", link)
"""


@pytest.mark.root
@pytest.mark.parametrize("where", ["alice", "shared"])
def test_a_link_that_somebody_flips(tree, where):
    """Their code is never run, and what is read without care is theirs again and again."""
    evil, ran, link = tree / "evil.py", tree / "ran", tree / where / "flip"
    evil.write_text(f"open({str(ran)!r}, 'w')\n{RULE}")
    os.chown(evil, NOBODY, NOBODY)
    way = _link(tree / "etc/rule.py", f"../{where}/flip")
    words = [*AS_NOBODY, sys.executable, "-c", FLIP]
    words += [str(tree / "real/rule.py"), str(evil), str(link)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as attacker:
        try:
            attacker.stdout.readline()
            for _ in range(100):
                with pytest.raises(UsageError):
                    load_file(str(way))
            seen = set()
            while len(seen) < 2 and attacker.poll() is None:
                seen.add(os.readlink(link))  # a control: both are there to be had
        finally:
            attacker.kill()
    assert not ran.exists()
    assert len(seen) == 2


def test_folders_that_modules_come_from(tree, monkeypatch):
    """What a rule file imports is code as well; not from where others may put something."""
    check_imports()
    monkeypatch.setattr(sys, "path", [str(tree / "real"), *sys.path])
    check_imports()
    for folder in ("shared", *(["alice"] if not os.geteuid() else [])):
        monkeypatch.setattr(sys, "path", [str(tree / folder), *sys.path[1:]])
        with pytest.raises(UsageError, match="rule files import from there"):
            load_file(str(tree / "real/rule.py"))


@pytest.mark.root
def test_a_file_system_of_somebody_else(tree):
    """Whoever serves it says whose its files are: root's, if they like."""
    code = (
        "import os, sys; sys.path[:0] = sys.argv[3:];"
        "from notifyd.kernel import files; fd = os.open('/dev/fuse', os.O_RDWR);"
        "options = f'fd={fd},rootmode=40755,user_id={sys.argv[2]},group_id=0,allow_other';"
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"
        "assert not libc.mount(b'x', sys.argv[1].encode(), b'fuse', 6, options.encode());"
        "print(flush=True);\n"
        "import struct\n"
        "while True:\n"
        "    data = os.read(fd, 1 << 17)\n"
        "    size, op, unique = struct.unpack_from('=IIQ', data)\n"
        "    out = struct.pack('=IIIIHHIIII', 7, 31, 65536, 0, 0, 0, 65536, 0, 0, 0) + bytes(24)\n"
        "    if op == 3: out = struct.pack('=QII', 0, 0, 0) + struct.pack("
        "'=QQQQQQIIIIIIIIII', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)\n"
        "    error = 0 if op in (3, 26) else -2\n"
        "    out = out if not error else b''\n"
        "    os.write(fd, struct.pack('=IiQ', 16 + len(out), error, unique) + out)\n"
    )
    for uid, said in ((NOBODY, f"a file system of uid {NOBODY}"), (0, "No such file")):
        place = tree / f"mounted{uid}"
        place.mkdir()
        words = [sys.executable, "-c", code, str(place), str(uid), *sys.path]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
            watchdog = threading.Timer(20, server.kill)
            watchdog.start()
            try:
                server.stdout.readline()
                assert place.stat().st_uid == 0
                with pytest.raises((UsageError, OSError), match=said):
                    read_trusted(place / "rule.py")
            finally:
                subprocess.run(["umount", "-l", str(place)], check=False)
                server.kill()
                watchdog.cancel()


def test_the_folder_one_is_in(tree):
    """With `python -m notifyd` rule files import nothing from there, and it does no harm."""
    (tree / "shared/of_others.py").write_text("raise SystemExit('from the current folder')\n")
    (tree / "real/imports.py").write_text(f"import of_others\n{RULE}")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def show(name):
        words = [sys.executable, "-m", "notifyd", "rules", str(tree / "real" / name), "--filter"]
        return subprocess.run(
            words, cwd=tree / "shared", env=environment, capture_output=True, text=True, timeout=30
        )

    assert show("rule.py").returncode == 0
    assert "No module named 'of_others'" in show("imports.py").stderr
