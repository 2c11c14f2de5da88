"""Files that are one user's alone, on a FUSE file system without allow_other: sshfs, gvfs."""

import os
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="other users and mounts need root"),
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse"),
]
USES = str(Path(__file__).parent / "programs" / "onlyours.py")
LOOKS = """
@on(*PATH_OPERATIONS)
def looks(call):
    call.paths
    return Allow()
"""
OURS, THEIRS = "61234", "61235"  # nobody else has them


@pytest.fixture
def served(build, here):
    """What goes before a command that has a user's own file system in the folder `fs`."""
    (here / "fs").mkdir()
    return (
        "unshare",
        "--mount",
        "--propagation",
        "private",
        build("ownfs"),
        OURS,
        str(here / "fs"),
    )


def test_a_users_own_file_system(served, rule, run, native, here):
    """Root's notifyd does for them what they may do, and for others what these may not."""
    words = ("/usr/bin/python3", USES, str(here / "fs"))
    for user in (OURS, THEIRS):
        ids = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
        natively = native(*served, "setpriv", *ids, *words, cwd=here)
        ran = run(
            "--user",
            f"{user}:{user}",
            "--rules",
            rule(LOOKS),
            "--",
            *words,
            before=served,
            cwd=here,
        )
        assert (ran.status, natively.status) == (0, 0), ran.err + natively.err
        assert ran.lines == natively.lines
        assert ("read file b'hello'" in ran.lines) is (user == OURS)


def test_whoever_does_it_can_be_killed_and_not_read(served, rule, run, here):
    """It has all of the user's ids meanwhile: to kill it fails that one call, and tells nothing."""
    words = ("/usr/bin/python3", USES, str(here / "fs"), "attack")
    ran = run(
        "--user", f"{OURS}:{OURS}", "--rules", rule(LOOKS), "--", *words, before=served, cwd=here
    )
    assert ran.status == 0, ran.err
    told = dict(line.split(" ", 1) for line in ran.lines)
    assert told == {
        "mem": "EACCES", "maps": "EACCES", "environ": "EACCES", "fd": "EACCES", "cwd": "EACCES",
        "root": "EACCES", "exe": "EACCES", "trace": "False", "others": "go on b'hello'",
        "and": "it ends b'hello'",
        "slow": "EPERM", "read": "b'hello'", "left": "0",
    }  # fmt: skip
