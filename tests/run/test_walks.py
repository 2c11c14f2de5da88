"""Walks obey what the kernel's obey: nosymfollow, protected links, terminals, any depth."""

import errno
import fcntl
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
@on(*PATH_OPERATIONS)
def look(call):
    call.paths
    return Allow()
"""
TRY = """
import errno, os, sys
for line in sys.stdin:
    try:
        print(eval(line))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
LOCK = "/tmp/notifyd-tests-sysctl.lock"
root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, users and sysctls need root")


@pytest.fixture
def both(run, native, rule, tmp_path):
    """Evaluate lines of Python natively and performed, each time in a folder made anew.

    Returns the two lists of results, an errno by its name.
    """

    def tried(setup, lines, user=0):
        as_user = f"setpriv --reuid {user} --regid {user} --clear-groups " if user else ""
        found = []
        for performed in (False, True):
            folder = tmp_path / "m"
            folder.mkdir(exist_ok=True)
            words = as_user + shlex.join([sys.executable, "-c", TRY])
            inside = f"set -e\nmount -t tmpfs -o mode=755 none m\ncd m\n{setup}\nexec $1 {words}"
            before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", inside, "sh")
            text = "\n".join(lines)
            if performed:
                line = shlex.join(
                    [sys.executable, "-m", "notifyd", "run", "-q", "--rules", rule(LOOK)]
                )
                line += " --"
            else:
                line = ""
            done = subprocess.run(
                [*before, line], input=text, capture_output=True, text=True, cwd=tmp_path,
                timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found.append(done.stdout.split("\n")[:-1])
        return found

    return tried


STARTS = ["", "/proc/self/cwd/", "/proc/self/fd/0/../cwd/", "/proc/thread-self/cwd/"]


@root
def test_a_mount_that_forbids_links(both):
    """With nosymfollow, mount(8): ELOOP for every link on it, the last and those on the way."""
    setup = (
        "mkdir on; mount -t tmpfs -o nosymfollow none on; mkdir on/d; echo x >on/d/f\n"
        "ln -s d on/way; ln -s d/f on/last; ln -s on/d/f from; ln -s on/last both; ln -s on in"
    )
    lines = [f"os.stat({head + 'from'!r}).st_size" for head in STARTS]
    for head in STARTS:
        for name in ("on/last", "on/way/f", "both", "in/last", "on/way/"):
            lines += [
                f"os.open({head + name!r}, os.O_RDONLY) > 0",
                f"os.stat({head + name!r}).st_mode",
            ]
        lines += [
            f"os.open({head + 'on/last'!r}, os.O_WRONLY | os.O_CREAT) > 0",
            f"os.mkdir({head + 'on/way/new'!r})",
            f"os.readlink({head + 'on/last'!r})",
            f"os.lstat({head + 'on/last'!r}).st_size",
            f"os.chmod({head + 'on/last'!r}, 0o600)",
        ]
    natively, performed = both(setup, lines)
    assert "ELOOP" in natively
    assert performed == natively


@pytest.fixture
def protected(request):
    """Set a sysctl of the machine, and set it back; only one test of the machine at a time."""
    name, value = request.param
    path = Path(f"/proc/sys/fs/{name}")
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = path.read_text()
        if int(value) < int(before):
            pytest.skip(f"{name} is on, and is not taken away from the machine")
        path.write_text(value)
        yield value
        path.write_text(before)


STICKY = (
    "mkdir -m 1777 s; mkdir -m 777 d plain; echo x >d/f; chmod 666 d/f\n"
    "for o in 1000 1001 0; do for w in s plain; do\n"
    "ln -s ../d/f $w/file$o; ln -s ../d $w/dir$o; ln -s ../d/none$o $w/none$o\n"
    "ln -s file$o $w/twice$o\n"
    "chown -h $o $w/file$o $w/dir$o $w/none$o $w/twice$o; done; done\n"
    "mkdir -m 1777 own; chown 1001 own; ln -s ../d/f own/file1001; chown -h 1001 own/file1001\n"
    "ln -s s/file1001 behind; ln -s s/dir1001/f through"
)


@root
@pytest.mark.parametrize(
    "protected", [("protected_symlinks", "1"), ("protected_symlinks", "0")], indirect=True
)
@pytest.mark.parametrize("user", [1000, 1001, 0])
def test_links_of_others_in_sticky_folders(both, protected, user):
    """fs.protected_symlinks: only the last component, by the owners of link, folder and caller."""
    names = [
        f"{folder}/{kind}{owner}"
        for folder in ("s", "plain")
        for kind in ("file", "dir", "none", "twice")
        for owner in (1000, 1001, 0)
    ]
    names += ["own/file1001", "behind", "through"]
    names += [f"s/dir{owner}/{more}" for owner in (1000, 1001, 0) for more in ("", ".", "f")]
    lines = []
    for head in STARTS[:2]:
        for name in names:
            path = head + name
            lines += [
                f"os.open({path!r}, os.O_RDONLY) > 0",
                f"os.stat({path!r}).st_size",
                f"os.lstat({path!r}).st_size",
                f"os.open({path!r}, os.O_WRONLY | os.O_CREAT, 0o600) > 0",
            ]
        for owner in (1000, 1001, 0):
            path = f"{head}s/dir{owner}/new{user}"
            lines.append(f"os.mkdir({path!r}) or os.rmdir({path!r})")
    natively, performed = both(STICKY, lines, user)
    assert ("EACCES" in natively) == (protected == "1")
    different = [row for row in zip(lines, natively, performed, strict=True) if row[1] != row[2]]
    assert different == []


@root
@pytest.mark.parametrize(
    "protected",
    [("protected_fifos", "2"), ("protected_regular", "2"), ("protected_hardlinks", "1")],
    indirect=True,
)
@pytest.mark.parametrize("user", [1000, 0])
def test_files_of_others_in_sticky_folders(both, protected, user):
    """fs.protected_fifos, protected_regular and protected_hardlinks, as natively."""
    setup = (
        "mkdir -m 1777 s; mkdir -m 777 d; mkfifo -m 666 s/fifo; echo x >s/file; chmod 666 s/file\n"
        "chown 1001 s/fifo s/file; ln -s ../s/file d/link; ln -s ../s/fifo d/pipe\n"
        "echo y >s/closed; chmod 600 s/closed"
    )
    lines = []
    for head in STARTS[:2]:
        for name in ("s/fifo", "s/file", "d/link", "d/pipe"):
            lines += [
                f"os.open({head + name!r}, os.O_RDWR | {flags}) > 0"
                for flags in ("0", "os.O_CREAT", "os.O_CREAT | os.O_NOFOLLOW")
            ]
        lines += [f"os.link({head + 's/closed'!r}, 'd/one') or os.unlink('d/one')"]
    natively, performed = both(setup, lines, user)
    assert performed == natively


def test_making_a_directory_that_is_there(both):
    """open(2) with O_CREAT: EISDIR, whichever way it is reached; EEXIST with O_EXCL."""
    if os.geteuid():
        pytest.skip("mounts need root")
    paths = ["d", "d/.", "to", "/proc/self/cwd", "/proc/self/cwd/d", "/proc/self/cwd/", "/", "way"]
    lines = [
        f"os.open({path!r}, os.O_CREAT | {flags}) > 0"
        for path in paths
        for flags in ("0", "os.O_EXCL", "os.O_DIRECTORY", "os.O_NOFOLLOW", "os.O_WRONLY")
    ]
    natively, performed = both("mkdir d; ln -s d to; ln -s /proc/self/cwd way", lines)
    assert {"EISDIR", "EEXIST"} <= set(natively)
    assert performed == natively


def test_many_links_in_all(both):
    """Forty links are followed, wherever they are, and one more is ELOOP."""
    if os.geteuid():
        pytest.skip("mounts need root")
    setup = (
        "mkdir d; echo x >d/f; ln -s d w0; ln -s d/f l0; i=0; while [ $i -lt 45 ]; do\n"
        "ln -s w$i w$((i + 1)); ln -s l$i l$((i + 1)); ln -s n$i n$((i + 1)); i=$((i + 1)); done\n"
        "ln -s ../l15 d/mid"
    )
    paths = [
        f"{kind}{at}{more}" for kind, more in (("w", "/f"), ("l", "")) for at in (38, 39, 40, 41)
    ]
    paths += [f"w{at}/mid" for at in (20, 22, 23, 24, 25)] + ["n39", "n40"]
    lines = [
        f"os.open({head + path!r}, {flags}, 0o600) > 0"
        for head in STARTS[:2]
        for path in paths
        for flags in ("os.O_RDONLY", "os.O_WRONLY | os.O_CREAT")
    ]
    natively, performed = both(setup, lines)
    assert "ELOOP" in natively
    different = [row for row in zip(lines, natively, performed, strict=True) if row[1] != row[2]]
    assert different == []


def test_deep_below(both):
    """Short names work at any depth, and so do the files and folders that are made there."""
    if os.geteuid():
        pytest.skip("mounts need root")
    deeper = f"[(os.mkdir({'a' * 250!r}), os.chdir({'a' * 250!r})) for _ in range(20)] and 1"
    lines = [deeper, "os.stat('.').st_mode", "os.close(os.open('f', os.O_CREAT | os.O_WRONLY))"]
    lines += ["os.stat('f').st_size", "os.mkdir('d')", "os.chdir('d')", "os.stat('../f').st_size"]
    lines += ["os.symlink('../f', 'l')", "os.stat('l').st_size", "os.rename('l', '../m')"]
    lines += [
        "os.readlink('../m')",
        "os.rmdir('../d')",
        "os.chmod('../f', 0o600)",
        "os.access('../f', 1)",
    ]
    lines += [
        "os.unlink('../f')",
        "os.stat('../f')",
        "len(os.listdir('..'))",
        "os.statvfs('..').f_namemax",
    ]
    for _ in range(2):
        natively, performed = both("", lines)
        assert performed == natively


def test_long_ways(both):
    """Thousands of components, over links with as many: as natively, and no descriptor too many."""
    if os.geteuid():
        pytest.skip("mounts need root")
    deeper = "[os.mkdir('d') or os.chdir('d') for _ in range(1800)] and os.chdir(top)"
    lines = ["globals().update(top=os.getcwd())", "os.mkdir('a')", deeper]
    lines += ["os.symlink('a/../' * 800 + 'a', 'l0')", "os.symlink('d/' * 1800, 'far')"]
    lines += ["[os.symlink('a/../' * 800 + f'l{n}', f'l{n + 1}') for n in range(41)] and 1"]
    for head in STARTS:
        paths = ["'d/' * 1800 + 'f'", "'d/' * 900 + '../' * 890 + 'f'", "'a/../' * 780 + 'a/f'"]
        paths += ["'no/../' * 600 + 'a/f'", "'d/' * 1800 + 'no/no'", "'d/' * 1800 + 'f/f'"]
        # Where a walk in the cache fails, Linux begins anew and goes on counting: 16 links, or 42.
        paths += ["'far/f'", "'l15/f'", "'l41/f'", "'self/../' * 400 + 'a/f'"]
        for path in paths:
            path = f"{head!r} + {path}"
            lines += [
                f"os.close(os.open({path}, os.O_WRONLY | os.O_CREAT, 0o600))",
                f"os.close(os.open({path}, os.O_RDONLY))",
                f"os.stat({path}).st_size",
                f"os.rename({path}, 'a/g')",
            ]
    # Too deep for whoever tidies up in Python.
    lines += ["len(os.listdir('/proc/self/fd'))", "os.system('rm -r d')"]
    natively, performed = both("ln -s /proc/self self", lines)
    assert {"ELOOP", "ENOENT", "ENOTDIR"} <= set(natively)
    different = [row for row in zip(lines, natively, performed, strict=True) if row[1] != row[2]]
    assert different == []


TERMINAL = """
import errno, os, pty, sys
path, flags = sys.argv[1], int(sys.argv[2])
child, terminal = pty.fork()
if not child:
    try:
        os.write(os.open(path, os.O_RDWR | flags, 0o600), b"MARK")
    except OSError as error:
        print(errno.errorcode[error.errno])
    os._exit(0)
shown = b""
try:
    while some := os.read(terminal, 99):
        shown += some
except OSError:
    pass
os.waitpid(child, 0)
print(shown.decode().strip())
child = os.fork()
if not child:
    os.setsid()
    try:
        os.write(os.open(path, os.O_RDWR | flags, 0o600), b"STRAY")
        print("opened", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@root
@pytest.mark.parametrize(
    "flags", [0, os.O_CREAT, os.O_CREAT | os.O_NOFOLLOW, os.O_TRUNC, os.O_NONBLOCK]
)
@pytest.mark.parametrize("path", ["/dev/tty", "node", "link", "/proc/self/root/dev/tty", "bound"])
def test_whose_terminal_it_is(flags, path, rule, tmp_path):
    """/dev/tty by whatever name, with whatever flags, is the program's own, and never ours."""
    os.mknod(tmp_path / "node", 0o20666, os.makedev(5, 0))
    (tmp_path / "link").symlink_to("/dev/tty")
    (tmp_path / "bound").touch()
    words = [sys.executable, "-c", TERMINAL, path, str(flags)]
    ours = [sys.executable, "-m", "notifyd", "run", "-q", "--rules", rule(LOOK), "--"]
    found = []
    for line in (words, [*ours, *words]):
        inside = f"mount --bind /dev/tty bound && exec {shlex.join(line)} >out"
        script = ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside]
        # script(1) of Python: on a terminal of its own, whose screen is what it prints.
        shown = subprocess.run(
            [sys.executable, "-c", f"import pty; pty.spawn({script!r})"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, timeout=60,
            check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        ).stdout  # fmt: skip
        found.append(((tmp_path / "out").read_text().split(), shown.strip("\x04\b^D\r\n ")))
    if flags & os.O_NOFOLLOW and path == "link":
        assert found[0][0][0] == errno.errorcode[errno.ELOOP]
    else:
        assert found[0][0] == ["MARK", "ENXIO"]
    assert found[1] == found[0]
    assert not {"MARK", "STRAY"} & set(found[1][1].split())
