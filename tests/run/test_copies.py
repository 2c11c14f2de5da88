"""What a program has closed is closed, and what it has left is left: nobody else has it open still.

A lock that can be taken, a FIFO that ends, a file that can be executed, a file system that can be
unmounted: the program sees at once whether anybody keeps what was opened for its call.
"""

import sys

import pytest

pytestmark = pytest.mark.root

FILES = [
    "lock",
    "made-lock",
    "far-lock",
    "fifo",
    "inotify",
    "read-lease",
    "write-lease",
    "exec",
    "connected",
    "bound",
    "sent",
]
MOUNTS = [
    "u-open",
    "u-make",
    "u-missing",
    "u-cwd",
    "u-cwd-made",
    "u-at",
    "u-stat",
    "u-link",
    "u-access",
    "u-mode",
    "u-fd-mode",
    "u-directory",
    "u-name",
    "u-attribute",
    "u-truncate",
    "u-exec",
    "u-script",
    "u-shell",
    "u-bind",
    "u-connect",
    "u-connect-here",
    "u-send",
    "u-mount",
]
OWN_MOUNTS = [
    "u-open",
    "u-cwd-made",
    "u-at",
    "u-stat",
    "u-fd-mode",
    "u-exec",
    "u-connect-here",
    "u-mount",
]
ROUNDS = 300
MOUNTED, OWN_MOUNTED = 15, 10  # file systems for each kind
PATIENCE = 240.0  # seconds for what takes ten where nobody else works
LOOKS = """
@on(Open, Stat, ReadLink, Access, Chmod, Mkdir, GetXattr, Truncate, Exec, Bind, Connect, SendTo)
def looks(call):
    getattr(call, {name!r}, None)
    getattr(call, "address", None)
    return Allow()

@on(Rename)
def looks_twice(call):
    return Allow() if call.oldpath and call.newpath else None
"""
KEEPS = """
KEPT = []

@on(Open, flags=has(os.O_WRONLY))
def keeps(call):
    if call.path.name != "fifo":
        return Allow()
    KEPT.append(os.open(call.path, os.O_WRONLY))
    return Supply(KEPT[-1])
"""
# What follows runs on a kernel that cannot put descriptors into programs: ioctl(2) says so.
OLDER = """
import errno, os, struct, sys
from notifyd.kernel import arch, prctl, seccomp, unotify

rows = (
    (0x20, 0, 0, 0), (0x15, 0, 3, arch.native().numbers["ioctl"]),
    (0x20, 0, 0, 24), (0x15, 0, 1, unotify.IOCTL_ADDFD),
    (0x06, 0, 0, seccomp.RET_ERRNO | errno.EINVAL), (0x06, 0, 0, seccomp.RET_ALLOW),
)
prctl.set_no_new_privs()
seccomp.install(b"".join(struct.pack("=HBBI", *row) for row in rows), 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
NOBODY = ("--user", "nobody")


def none_of(kinds):
    """What is printed where nothing is seen of anybody else."""
    return [f"{kind} 0" for kind in kinds]


def test_natively(build, native, here):
    """The measure: a program has what it has opened for itself."""
    program = build("copies")
    ran = native(program, str(ROUNDS), *FILES, cwd=here)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(FILES))
    line = (program, "mounts", str(MOUNTED), program, str(MOUNTED), *MOUNTS)
    ran = native(*line, cwd=here)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(MOUNTS))


def test_what_is_kept_is_seen(build, rule, run, here):
    """A rule that keeps what it supplies: the FIFO has a writer still, each time."""
    ran = run("--rules", rule(KEEPS), "--", build("copies"), "20", "fifo", cwd=here)
    assert (ran.status, ran.lines) == (7, ["fifo 20"])


def test_no_start_where_nothing_can_be_given(rule, run, here):
    """On Linux before 5.9, for which a filter stands in: said before anything is started."""
    older = sys.executable, "-c", OLDER
    ran = run("--rules", rule(KEEPS), "--", "touch", "started", before=older, cwd=here)
    assert ran.status == 2
    assert "Linux has it since 5.9" in ran.err
    assert not (here / "started").exists()


@pytest.mark.parametrize("name", ["pathname", "path"])
@pytest.mark.parametrize("user", [(), NOBODY], ids=["root", "nobody"])
def test_what_is_closed_is_closed(user, name, build, rule, run, here):
    """Done by notifyd itself, in a thread, and by a helper."""
    rules = rule(LOOKS.format(name=name), pulse=False)
    words = "--rules", rules, "--", build("copies"), str(ROUNDS), *FILES
    ran = run(*user, *words, cwd=here)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(FILES))


def test_no_mount_is_busy(build, rule, run, here):
    """Whatever was done there, and whether it succeeded."""
    program = build("copies")
    before = program, "mounts", str(MOUNTED)
    words = "--rules", rule(LOOKS.format(name="path"), pulse=False), "--"
    ran = run(*words, program, str(MOUNTED), *MOUNTS, before=before, cwd=here, patience=PATIENCE)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(MOUNTS))


def test_no_mount_is_busy_in_another_namespace(build, rule, run, here):
    """Where a helper does it, in the target's mount namespace."""
    program = build("copies")
    before = program, "mounts", str(MOUNTED)
    words = "--rules", rule(LOOKS.format(name="path"), pulse=False), "--", "unshare", "-m"
    ran = run(*words, program, str(MOUNTED), *MOUNTS, before=before, cwd=here, patience=PATIENCE)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(MOUNTS))


def test_no_own_mount_is_busy(build, rule, run, here):
    """Of a user, in a user namespace, who has mounted it behind the rule."""
    program = build("copies")
    words = "--rules", rule(LOOKS.format(name="path"), pulse=False), "--", "unshare", "-Urm"
    mounts = program, "mounts", str(OWN_MOUNTED), program, str(OWN_MOUNTED), *OWN_MOUNTS
    ran = run(*NOBODY, *words, *mounts, cwd=here, patience=PATIENCE)
    assert (ran.status, ran.err, ran.lines) == (7, "", none_of(OWN_MOUNTS))
