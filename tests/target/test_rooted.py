"""Paths of openat2 with RESOLVE_IN_ROOT: the kernel's own opens of the same, and their names."""

import os
from contextlib import suppress
from itertools import product

import pytest

from notifyd.errors import CannotPerform
from notifyd.kernel.openat2 import RESOLVE_IN_ROOT, openat2
from notifyd.target.paths import Resolver, WouldBlock

TEXTS = [
    "/", ".", "..", "file", "/file", "../../file", "sub/../../sub/file", "/sub/", "sub/.", "new",
    "/sub/new", "sub/none/new", "file/new", "new/", "../new", "up", "up/file", "far", "far/file",
    "dangling", "away", "circle", "circle/x", "chain", "sub/up", "/sub/../../../sub/away",
]  # fmt: skip
LINKS = {
    "up": "..", "far": "/sub", "dangling": "/sub/made", "away": "../../../made", "circle": "circle",
    "chain": "sub/up", "sub/up": "/up", "sub/away": "../../sub/made",
}  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A directory that is root and working directory of the walks."""
    inner = tmp_path / "root"
    (inner / "sub").mkdir(parents=True)
    for file in ("file", "sub/file"):
        (inner / file).touch()
    for name, text in LINKS.items():
        (inner / name).symlink_to(text)
    monkeypatch.chdir(inner)
    return str(inner)


def resolve(path, follow):
    """Resolve, and wait if that has to be."""
    made = Resolver(os.getpid())
    with suppress(WouldBlock):
        return os.fsdecode(made.resolve(-100, os.fsencode(path), follow, True))
    made._look((-100, os.fsencode(path), follow, True))
    return os.fsdecode(made.resolve(-100, os.fsencode(path), follow, True))


def by_the_kernel(path, flags):
    """What the kernel opens, by its name; an errno if that fails."""
    try:
        fd = openat2(
            -100, os.fsencode(path), flags, 0o600 if flags & os.O_CREAT else 0, RESOLVE_IN_ROOT
        )
    except OSError as error:
        return error.errno
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(("path", "follow"), list(product(TEXTS, [True, False])))
def test_a_name_is_what_the_kernel_opens(path, follow, root):
    """What is there, and what is made; never anything that is not below."""
    name = resolve(path, follow)
    assert name == root or name.startswith(root + "/")
    flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
    found = by_the_kernel(path, flags)
    if isinstance(found, int):
        found = by_the_kernel(path, os.O_CREAT | os.O_WRONLY | (0 if follow else os.O_NOFOLLOW))
    assert found == name or isinstance(found, int)


def test_what_is_below_proc_has_no_name(monkeypatch):
    """It may be ours, by /proc/self."""
    monkeypatch.chdir("/")
    with pytest.raises(CannotPerform, match="in /proc"):
        resolve("proc/self/status", True)
