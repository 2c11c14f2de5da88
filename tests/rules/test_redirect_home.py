"""A program takes one directory for another."""

import os

import pytest

from notifyd import Allow, Deny, IoUring, Open, Rename, Stat
from notifyd.testing import load_rules, make_call, verdict_of


@pytest.fixture
def rules(tmp_path):
    """From one directory to another."""
    for name in ("home", "trial"):
        (tmp_path / name).mkdir()
    return load_rules("redirect-home", **{"from": tmp_path / "home", "to": tmp_path / "trial"})


def test_paths_below_are_changed(rules, tmp_path):
    """And no others."""
    home, trial = tmp_path / "home", tmp_path / "trial"
    inside = make_call(Open, path=home / "f", flags=os.O_RDWR)
    assert str(verdict_of(rules, inside).changes["path"]) == f"{trial}/f"
    assert verdict_of(rules, make_call(Open, path="/home/other")) == Allow()
    assert verdict_of(rules, make_call(Stat, fd=3, syscall="fstat")) == Allow()
    both = verdict_of(rules, make_call(Rename, oldpath=home / "a", newpath=home / "b"))
    assert {name: str(path) for name, path in both.changes.items()} == {
        "oldpath": f"{trial}/a",
        "newpath": f"{trial}/b",
    }


def test_io_uring_is_refused(rules):
    """It opens with no system call."""
    assert isinstance(verdict_of(rules, make_call(IoUring)), Deny)


def test_programs_find_the_other_directory(shell, everybodys, user):
    """Files are made, listed, moved, linked and removed there; here nothing changes."""
    here, there = everybodys / "here", everybodys / "there"
    for one in (here, there):
        one.mkdir()
        one.chmod(0o777)
    (here / "real").write_text("real")
    (there / "f").write_text("trial")
    (there / "link").symlink_to(here / "f")
    script = """
        set -e; cat {here}/f {here}/link; echo; echo new > {here}/new; mv {here}/new {here}/moved
        ln -s f {here}/short; cat {here}/short; cp -r {here} {here}.copy; mkdir {here}/d
        cd {here}; echo 1 > relative; cat ../here/relative; ls; rm short; test ! -e real
    """
    options = {"from": str(here), "to": str(there)}
    ran = shell("redirect-home", script.format(here=here), user=user, **options)
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "trialtrial",
        "trial1",
        *sorted(["d", "f", "link", "moved", "relative", "short"]),
    ]
    assert os.listdir(here) == ["real"]
    assert sorted(os.listdir(there)) == ["d", "f", "link", "moved", "relative"]
    assert (there / "moved").stat().st_uid == (65534 if user else os.getuid())
    assert sorted(os.listdir(f"{here}.copy")) == ["f", "link", "moved", "short"]
