"""What is to stay as it is stays so, whichever way one comes."""

import errno
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from notifyd import (
    Access,
    Allow,
    Chmod,
    Chroot,
    Deny,
    Ioctl,
    IoUring,
    Link,
    Mount,
    Open,
    PerfEventOpen,
    Rename,
    SetXattr,
    Symlink,
    Truncate,
    Unlink,
    Utime,
)
from notifyd.errors import UsageError
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["readonly"]
EXT4_IOC_SETVERSION_OLD, TIOCSTI = 0x40086604, 0x5412


@pytest.fixture
def kept(tmp_path):
    """The directory that is to stay."""
    path = tmp_path / "a" / "kept"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def verdict(kept):
    """What the rule says of a call; `{kept}` in a path is the directory."""
    rules = load_rules(*RULES, below=kept)

    def ask(operation, **fields):
        values = {k: v.format(kept=kept) if isinstance(v, str) else v for k, v in fields.items()}
        directories = {3: f"{kept}/f", 4: "/elsewhere"}
        found = verdict_of(rules, make_call(operation, directories=directories, **values))
        return found.errno if isinstance(found, Deny) else found

    return ask


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Open, {"path": "{kept}/f", "flags": os.O_WRONLY}),
        (Open, {"path": "{kept}/f", "flags": os.O_RDWR}),
        (Open, {"path": "{kept}/f", "flags": os.O_RDONLY | os.O_CREAT}),
        (Open, {"path": "{kept}/f", "flags": os.O_RDONLY | os.O_TRUNC}),
        (Open, {"path": "{kept}", "flags": os.O_RDWR | os.O_TMPFILE}),
        (Open, {"path": "{kept}/f", "flags": os.O_RDWR, "resolve_flags": 4}),
        (Open, {"path": "{kept}/f", "syscall": "creat"}),
        (Unlink, {"path": "{kept}/f"}),
        (Unlink, {"path": "/x/..{kept}/f"}),
        (Rename, {"oldpath": "{kept}/f", "newpath": "/x"}),
        (Rename, {"oldpath": "/x", "newpath": "{kept}/f"}),
        (Rename, {"oldpath": "{kept}/..", "newpath": "/x"}),
        (Rename, {"oldpath": "/x", "newpath": "{kept}/..", "flags": 2}),
        (Link, {"oldpath": "{kept}/f", "newpath": "/x"}),
        (Link, {"oldpath": "/x", "newpath": "{kept}/f"}),
        (Symlink, {"content": "/x", "linkpath": "{kept}/f"}),
        (Chmod, {"path": "{kept}/f", "mode": 0o600}),
        (Chmod, {"fd": 3, "mode": 0o600, "syscall": "fchmod"}),
        (Truncate, {"path": "{kept}/f"}),
        (Utime, {"dirfd": 3, "syscall": "utimensat"}),
        (SetXattr, {"path": "{kept}/f", "name": "user.x", "value": b"x"}),
        (Access, {"path": "{kept}/f", "wanted": os.W_OK}),
    ],
)
def test_changes_below_are_refused(verdict, operation, fields):
    """As on a file system that is mounted read-only."""
    assert verdict(operation, **fields) == errno.EROFS


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Open, {"path": "{kept}/f", "flags": os.O_RDONLY}),
        (Open, {"path": "{kept}x/f", "flags": os.O_WRONLY}),
        (Unlink, {"path": "{kept}/../f"}),
        (Chmod, {"fd": 4, "mode": 0o600, "syscall": "fchmod"}),
        (Rename, {"oldpath": "/x", "newpath": "/y"}),
        (Access, {"path": "{kept}/f", "wanted": os.R_OK}),
        (Ioctl, {"request": 0x5401}),
    ],
)
def test_all_else_is_free(verdict, operation, fields):
    """Reading below, writing elsewhere."""
    assert verdict(operation, **fields) == Allow()


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Mount, {}),
        (Chroot, {}),
        (IoUring, {}),
        (PerfEventOpen, {}),
        (Ioctl, {"request": 0x40086602}),
        (Ioctl, {"request": EXT4_IOC_SETVERSION_OLD}),
        (Ioctl, {"request": TIOCSTI}),
    ],
)
def test_ways_round_are_refused(verdict, operation, fields):
    """In the kernel, wherever they lead."""
    assert verdict(operation, **fields) == errno.EPERM


FREE = ["cat kept/f", "cp kept/f free/copy", "echo more >> free/copy", "ln -s ../kept free/link"]
CHANGES = [
    "echo new > kept/f",
    "echo new >> kept/f",
    "echo new > kept/new",
    "touch kept/f",
    "mv kept/f free/f",
    "mv free/copy kept/f",
    "rm -f kept/f",
    "ln kept/f free/hard",
    "ln -s x kept/link",
    "chmod 600 kept/f",
    "chown $(id -u) kept/f",
    "mkdir kept/d",
    "mkfifo kept/fifo",
    "echo new > free/link/f",
    "echo new > free/../kept/f",
    "echo new > /proc/self/root$PWD/kept/f",
    "cd kept && echo new > f",
    "cd free && echo new > link/f",
    "mv kept gone",
    "mv ../$(basename $PWD) ../gone",
    "rm -rf kept",
    "tar -C kept -xf tree.tar",
    "truncate -s 0 kept/f",
    "test -w kept/f",
    "{python} -c 'import os; os.fchmod(os.open(\"kept/f\", os.O_RDONLY), 0)'",
    "{python} -c 'import os; os.utime(os.open(\"kept/f\", os.O_RDONLY))'",
    "{python} -c 'import os; os.open(\"kept\", os.O_RDWR | os.O_TMPFILE)'",
    "{python} -c 'import fcntl; fcntl.ioctl(open(\"kept/f\"), 0x40086604, bytes(8))'",
    '{python} -c \'import os; fd = os.open("kept/f", 0); open(f"/proc/self/fd/{{fd}}", "w")\'',
    "{python} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"kept/socket\")'",
]


def test_programs_read_and_cannot_change(shell, everybodys, user, system_python):
    """With the programs that people use, and with a few lines of their own."""
    kept, free = everybodys / "kept", everybodys / "free"
    for one in (kept, free):
        one.mkdir()
        one.chmod(0o777)
    (kept / "f").write_text("as it was")
    (kept / "f").chmod(0o666)
    subprocess.run(["tar", "-C", kept, "-cf", everybodys / "tree.tar", "."], check=True)
    before = state(kept)
    lines = [one.format(python=system_python) if "python" in one else one for one in FREE + CHANGES]
    script = f"cd {everybodys}\n" + "\n".join(
        f"( {line} ) > /dev/null 2>&1 && echo {shlex.quote(line)}" for line in lines
    )
    ran = shell("readonly", script, user=user, below=str(kept))
    assert ran.out.splitlines() == FREE
    assert state(kept) == before
    assert (free / "copy").read_text() == "as it wasmore\n"


def state(folder: Path) -> list[tuple]:
    """All that one can see of a folder and what is in it."""
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        held = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((path, status[:7], status.st_mtime_ns, status.st_ctime_ns, held))
    return found


def test_reading_costs_nothing(shell, everybodys):
    """No open for reading leaves the kernel."""
    (everybodys / "f").write_text("x")
    ran = shell("readonly", f"cat {everybodys}/f; ls -l {everybodys}", below=str(everybodys))
    assert "x" in ran.out
    assert {call["operation"] for call in ran.calls} <= {"Exec"}


@pytest.mark.parametrize("path", ["/proc/7/mem", "/proc/7/task/8/mem", "/proc/self/mem"])
def test_the_memory_of_processes_is_closed(verdict, path):
    """Somebody who is free could be made to write; reading it is another matter."""
    assert verdict(Open, path=path, flags=os.O_RDWR) == errno.EACCES
    assert verdict(Open, path=path) == Allow()


def test_a_directory_that_is_not_there_is_a_mistake(tmp_path):
    """A name misspelt must not leave everything free."""
    with pytest.raises(UsageError, match="below="):
        load_rules(*RULES, below=tmp_path / "nothing")
