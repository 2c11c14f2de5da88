"""What may ask does not write the record of answers."""

import errno
import os
from pathlib import Path

import pytest

from notifyd.policy.guard import guarded
from notifyd.policy.operations import Open, Rename, Unlink
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.verdicts import Allow
from notifyd.testing import make_call

STORE = Path("/home/u/.local/state/notifyd/notifyd.db")


def _said(operation, **fields):
    rules = guarded(RuleSet.build(()), STORE)
    (rule,) = [one for one in rules.rules if operation in one.claim.operations]
    return rule(make_call(operation, **fields))


@pytest.mark.parametrize(
    "path",
    [
        STORE,
        f"{STORE}-wal",
        STORE.with_name("anything"),
        "/mnt/notifyd.db",
        "/mnt/NOTIFYD.DB-journal",
        "/mnt/noti\u200bfyd.db",
        "/proc/1/mem",
    ],
)
def test_it_is_not_written(path):
    """By no name that the record may have: in its folder, mounted elsewhere, in other letters."""
    verdict = _said(Open, path=str(path), flags=os.O_WRONLY | os.O_CREAT)
    assert getattr(verdict, "errno", None) == errno.EACCES
    if not str(path).startswith("/proc"):
        assert _said(Unlink, path=str(path)).errno == errno.EACCES


@pytest.mark.parametrize("folder", [*STORE.parents][:-1])
def test_no_folder_above_is_moved(folder):
    """Nothing is put in the place of a folder that leads to it."""
    paths = {"oldpath": "/home/u/evil", "newpath": str(folder)}
    assert _said(Rename, **paths).errno == errno.EACCES
    assert _said(Rename, oldpath=str(folder), newpath="/home/u/evil").errno == errno.EACCES


def test_the_rest_is_written():
    """Other files are left alone, and are no concern of other rule files' where they have a say."""
    assert _said(Open, path="/home/u/other", flags=os.O_WRONLY) == Allow()
    assert _said(Rename, oldpath="/home/u/a", newpath="/home/u/b") == Allow()
