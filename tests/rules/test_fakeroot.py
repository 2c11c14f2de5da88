"""A program that takes itself for root."""

import os
import stat
import tarfile

import pytest

from notifyd import (
    Allow,
    Chmod,
    Chown,
    Deny,
    IoUring,
    Link,
    Mknod,
    Raw,
    Rename,
    Return,
    SetGid,
    SetUid,
    Stat,
    Unlink,
)
from notifyd.testing import FakeProcess, call_from_registers, load_rules, make_call, verdict_of

RULES = ["fakeroot"]
ROOTS = {"st_uid": 0, "st_gid": 0}
REPLACES, KEEPS = 0, 1  # flags of renameat2(2)


@pytest.fixture
def rules():
    """The rules, which remember."""
    return load_rules(*RULES)


@pytest.fixture
def told(rules):
    """What stat(2) of a path is to say."""
    return lambda path: dict(verdict_of(rules, make_call(Stat, path=path)).changes)


def chown(rules, path, uid, gid):
    """Give a file to somebody; the call itself changes nothing."""
    call = make_call(Chown, path=path, uid=uid, gid=gid)
    assert verdict_of(rules, call) == Allow(uid=-1, gid=-1)


def test_everything_is_roots(told):
    """Until somebody says otherwise."""
    assert told("/f") == ROOTS


def test_owners_are_remembered(rules, told):
    """-1 leaves what there was."""
    chown(rules, "/f", 12, 34)
    assert told("/f") == {"st_uid": 12, "st_gid": 34}
    chown(rules, "/f", -1, 5)
    assert told("/f") == {"st_uid": 12, "st_gid": 5}
    chown(rules, "/g", -1, 7)
    assert told("/g") == {"st_uid": 0, "st_gid": 7}
    by_fd = make_call(Stat, fd=3, syscall="fstat", directories={3: "/f"})
    assert verdict_of(rules, by_fd) == Allow(st_uid=12, st_gid=5)


def test_devices_are_files_with_a_memory(rules, told):
    """The kind is kept when the permissions change."""
    call = make_call(Mknod, path="/d", mode=stat.S_IFBLK | 0o640, device=(8, 1))
    assert verdict_of(rules, call) == Allow(mode=stat.S_IFREG | 0o640)
    assert told("/d") == {**ROOTS, "st_mode": stat.S_IFBLK | 0o640, "st_rdev": (8, 1)}
    assert verdict_of(rules, make_call(Chmod, path="/d", mode=0o600)) == Allow()
    assert told("/d")["st_mode"] == stat.S_IFBLK | 0o600
    assert verdict_of(rules, make_call(Chmod, path="/f", mode=0o600)) == Allow()
    assert told("/f") == ROOTS
    assert verdict_of(rules, make_call(Mknod, path="/p", mode=stat.S_IFIFO)) == Allow()
    assert told("/p") == ROOTS


@pytest.mark.parametrize("flags", [REPLACES, KEEPS])
def test_names_take_along_what_is_known(rules, told, flags):
    """A directory takes what lies below it; what is unlinked is forgotten."""
    chown(rules, "/d", 1, 1)
    chown(rules, "/d/f", 2, 2)
    chown(rules, "/dd", 3, 3)
    verdict_of(rules, make_call(Rename, oldpath="/d", newpath="/e", flags=flags))
    assert told("/e") == {"st_uid": 1, "st_gid": 1}
    assert told("/e/f") == {"st_uid": 2, "st_gid": 2}
    assert told("/dd") == {"st_uid": 3, "st_gid": 3}
    verdict_of(rules, make_call(Link, oldpath="/e/f", newpath="/g"))
    verdict_of(rules, make_call(Unlink, path="/e/f"))
    assert told("/g") == {"st_uid": 2, "st_gid": 2}
    assert told("/e/f") == ROOTS


def test_who_one_is(rules):
    """Root, by every call that tells."""
    for name in ("getuid", "geteuid", "getgid", "getegid"):
        assert verdict_of(rules, call_from_registers(Raw(name), name)) == Return(0)
    three = call_from_registers(Raw("getresuid"), "getresuid", 0x10, 0x20, 0x30)
    assert verdict_of(rules, three) == Return(0, memory=dict.fromkeys((0x10, 0x20, 0x30), bytes(4)))
    narrow = call_from_registers(Raw("getresgid"), "getresgid", 0x10, 0x20, 0x30, arch="i386")
    assert verdict_of(rules, narrow).memory == dict.fromkeys((0x10, 0x20, 0x30), bytes(2))
    assert isinstance(verdict_of(rules, make_call(IoUring)), Deny)


def test_real_root_can_stop_being_it(rules):
    """A program that gives up its power must not keep it."""
    for operation, fields in ((SetUid, {"uid": 5}), (SetGid, {"gid": 5})):
        nobody = make_call(operation, **fields, process=FakeProcess(uid=65534))
        root = make_call(operation, **fields, process=FakeProcess(uid=0))
        assert (verdict_of(rules, nobody), verdict_of(rules, root)) == (Return(0), Allow())


SCRIPT = """
    set -e; cd {place}; test $(id -u) = 0; mkdir d; echo x > d/f; chown 12:34 d/f; mv d/f d/g
    mknod d/dev c 1 3; chmod 640 d/dev; chown -h 5 d; ln -s g d/l; chown -h 7:7 d/l
    tar -cf one.tar d; mkdir e; tar -C e -xf one.tar; tar -C e -cf two.tar d; rm -r e
    test -d d; test -f d/g; test -c d/dev; test -L d/l
    stat -c '%n %u:%g' d d/g d/dev d/l /etc/passwd
"""


def test_archives_have_the_owners_that_were_given(shell, everybodys, user):
    """Packed, unpacked and packed again; on disk all is the user's own."""
    ran = shell("fakeroot", SCRIPT.format(place=everybodys), user=user)
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "d 5:0",
        "d/g 12:34",
        "d/dev 0:0",
        "d/l 7:7",
        "/etc/passwd 0:0",
    ]
    for name in ("one.tar", "two.tar"):
        with tarfile.open(everybodys / name) as archive:
            held = {one.name: (one.uid, one.gid, one.type, one.mode) for one in archive}
        assert held["d/g"][:2] == (12, 34)
        assert held["d/dev"] == (0, 0, tarfile.CHRTYPE, 0o640)
        assert held["d/l"][:3] == (7, 7, tarfile.SYMTYPE)
    assert {path.lstat().st_uid for path in everybodys.rglob("*")} == {65534 if user else 0}
    assert stat.S_ISREG((everybodys / "d" / "dev").stat().st_mode)
    assert os.listdir(everybodys / "d")
