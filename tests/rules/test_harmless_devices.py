"""Six devices are made for whoever asks, all others for nobody."""

import errno
import os
import stat

import pytest

from notifyd import Allow, Deny, Mknod
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["harmless-devices"]
CHARACTERS, BLOCKS = stat.S_IFCHR, stat.S_IFBLK


@pytest.mark.parametrize("device", [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)])
def test_harmless_ones_are_made_with_the_power_to(device):
    """For this call alone; the path is as free as ever."""
    call = make_call(Mknod, path="/dev/x", mode=CHARACTERS | 0o666, device=device)
    assert verdict_of(load_rules(*RULES), call) == Allow(grant="devices")
    assert not call.looked


@pytest.mark.parametrize(
    ("kind", "device"),
    [
        (BLOCKS, (8, 0)),
        (BLOCKS, (1, 3)),
        (BLOCKS, (0, 0)),
        (CHARACTERS, (1, 1)),
        (CHARACTERS, (1, 2)),
        (CHARACTERS, (1, 259)),
        (CHARACTERS, (5, 1)),
        (CHARACTERS, (10, 200)),
        (CHARACTERS, (257, 3)),
    ],
)
def test_others_are_refused(kind, device):
    """A disk with the number of null is a disk, and 257:3 is not 1:3."""
    verdict = verdict_of(load_rules(*RULES), make_call(Mknod, mode=kind | 0o666, device=device))
    assert isinstance(verdict, Deny)
    assert verdict.errno == errno.EPERM
    assert f"{device[0]}:{device[1]}" in verdict.reason


@pytest.mark.parametrize("kind", [0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFLNK])
def test_what_is_no_device_is_free(kind):
    """And so is a whiteout, which holds nothing."""
    rules = load_rules(*RULES)
    assert verdict_of(rules, make_call(Mknod, mode=kind | 0o644, device=(8, 0))) == Allow()
    whiteout = make_call(Mknod, mode=CHARACTERS, device=(0, 0))
    assert verdict_of(rules, whiteout) == Allow()


def test_devices_are_made_and_refused(run, everybodys, user):
    """With mknod(1): null works, has its user's name, and a disk is not to be had."""
    line = (
        "umask 0; cd $0; mknod null c 1 3 && echo lost > null; mkfifo fifo; mknod disk b 8 0;"
        "mknod disk b 1 3; mknod tunnel c 10 200; mknod white c 0 0"
    )
    ran = run(RULES, "/bin/sh", "-c", line, str(everybodys), user=user)
    assert sorted(os.listdir(everybodys)) == ["fifo", "null", "white"]
    null = (everybodys / "null").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev) == (True, os.makedev(1, 3))
    assert null.st_uid == (65534 if user else os.getuid())
    assert ran.err.count(os.strerror(errno.EPERM)) == 3
    made = [(call["args"]["device"], call["how"]) for call in ran.calls]
    assert made[0] == ("1:3", "performed")
    assert ("0:0", "continued") in made
    assert len(made) == 5


@pytest.mark.root
def test_root_of_a_user_namespace_is_lent_the_power(run, everybodys, user):
    """It holds CAP_MKNOD already, as a container's root does, and that is good for nothing."""
    line = "umask 0; cd $0; mknod null c 1 3 && echo lost > null; mknod mem c 1 1"
    words = ("unshare", "--user", "--map-root-user", "/bin/sh", "-c", line, str(everybodys))
    ran = run(RULES, *words, user=user)
    assert os.listdir(everybodys) == ["null"], ran.err
    null = (everybodys / "null").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev) == (True, os.makedev(1, 3))
    assert null.st_uid == (65534 if user else 0)
    assert f"mem: {os.strerror(errno.EPERM)}" in ran.err
