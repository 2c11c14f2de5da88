"""Long walks: what everybody waits for is little, and what comes of the rest is the same."""

import ctypes
import os
import random
import subprocess

import pytest

from notifyd.kernel import openat2 as kernel
from notifyd.kernel import strides
from notifyd.kernel.strides import Strides
from notifyd.target import paths, stepwise
from notifyd.target.paths import Resolver, WouldBlock
from notifyd.target.vectors import MAX_INLINE_STRINGS, TooManyStrings, Vector

HERE = -100  # AT_FDCWD
DEEP = 1800
TRIALS = 80  # 2,000 take ten minutes


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A working directory with a deep folder, and links of every kind that lead round in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a/b", "a/b/c"):
        os.mkdir(name)
        open(f"{name}/file", "w").close()
    for at, text in {
        "up": "..", "abs": str(tmp_path), "long": "a/../" * 700 + "a", "self": "/proc/self/cwd",
        "none": "nothing/x", "to": "file", "same": "./././.", "dir": "b/c/../..//b",
    }.items():  # fmt: skip
        os.symlink(text, at)
        os.symlink(text, f"a/{at}")
    return tmp_path


@pytest.fixture
def deep(tree):
    """That, with 1,800 folders below each other."""
    folder = os.open(".", os.O_PATH)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    for at in range(39):
        os.symlink("a/../" * 800 + (f"l{at - 1}" if at else "a"), f"l{at}")
    yield tree
    subprocess.run(["rm", "-r", "d"], check=True)  # too deep for whoever tidies up in Python


def looked(made, path, dirfd=HERE, follow=True):
    """Resolve, and wait where that has to be."""
    try:
        return made.resolve(dirfd, path, follow)
    except WouldBlock as slow:
        slow.look()
        return made.resolve(dirfd, path, follow)


WAYS = {  # from each folder of the tree: words, links (which are taken seldom), and where they lead
    "": ({"a": "a", ".": "", "a/b": "a/b", "a/b/c/..": "a/b"},
         {"long": "a", "self": "", "abs": "", "same": ""}),
    "a": ({"b": "a/b", "..": "", "b/c": "a/b/c"},
          {"up": "", "self": "", "abs": "", "same": "a", "dir": "a/b"}),
    "a/b": ({"c": "a/b/c", "..": "a", "./": "a/b"}, {}),
    "a/b/c": ({"..": "a/b", "../..": "a"}, {}),
}  # fmt: skip
LOST = ["nothing", "file", "none", "to", "long", "../../../../../../..", "up/up"]


def long_path(dice):
    """A walk of some 10 to 900 words round the tree; a third of them get lost somewhere."""
    here, words = "", []
    seldom, lost = dice.choice([0, 0.02, 0.3]), dice.choice([0, 0, 0.005])
    for _ in range(dice.choice([10, 40, 200, 900])):
        plain, links = WAYS[here]
        ways = links if links and dice.random() < seldom else plain
        word = dice.choice(list(ways))
        here = ways[word]
        words.append(dice.choice(LOST) if dice.random() < lost else word)
    start = dice.choice(["", "/proc/self/cwd/", "/proc/thread-self/cwd/", "/proc/self/fd/{fd}/../"])
    return start + "/".join([*words, dice.choice(["file", "", "new", "..", "a"])])


def test_strides_lead_where_steps_do(tree, monkeypatch):
    """Random paths: what the kernel walks in strides is what single steps come to, and what is."""
    dice, fd = random.Random(4), os.open("a", os.O_PATH)
    some = [os.fsencode(long_path(dice).format(fd=fd)) for _ in range(TRIALS)]
    some = [one[:4000] for one in some]
    some += [os.fsencode(tree) + b"/" + one for one in some[:80] if one[:1] not in (b"", b"/")]
    made = Resolver(os.getpid())
    quick = [looked(made, one) for one in some]
    monkeypatch.setattr(Strides, "leap", lambda *_: -1)
    monkeypatch.setattr(stepwise, "MAX_INLINE_STEPS", 1 << 30)
    slow = [looked(Resolver(os.getpid()), one) for one in some]
    assert [row for row in zip(some, quick, slow, strict=True) if row[1] != row[2]] == []
    there = 0
    for path, name in zip(some, quick, strict=True):
        try:
            found = os.open(path, os.O_PATH)
        except OSError:
            continue
        there += 1
        assert os.fsencode(os.readlink(f"/proc/self/fd/{found}")) == name
        os.close(found)
    os.close(fd)
    assert there > TRIALS // 3


KINDS = {
    "deep": "/proc/self/cwd/" + "d/" * DEEP + "x",
    "not there": "/proc/self/cwd/" + "d/" * DEEP + "none/none",
    "up and down": "/proc/self/cwd/" + "d/" * 600 + "../" * 590 + "x",
    "round": "/proc/self/cwd/" + "a/../" * 790 + "a/file",
    "nothing and back": "/proc/self/cwd/" + "no/../" * 600 + "a/file",
    "forty links": "l37/file",
    "links of /proc": "/proc/self/../.." * 240 + "/proc",
    "missing": "no/" * 1300,
    "short": "/proc/self/cwd/a/file",
}


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("kind", KINDS)
def test_what_everybody_waits_for_is_little(kind, deep, monkeypatch):
    """However long a path is, few steps are taken at once; the answer is the one of a long look."""
    counted = []

    def counting(*args, **more):
        counted.append(args)
        return kernel.openat2(*args, **more)

    for module in (paths, stepwise, strides):
        monkeypatch.setattr(module, "openat2", counting)
    made, path = Resolver(os.getpid()), os.fsencode(KINDS[kind])
    waits = None
    try:
        at_once = made.resolve(HERE, path, True)
    except WouldBlock as slow:
        waits, at_once = slow, None
    assert len(counted) <= paths.MAX_WALK_TRIES * (stepwise.MAX_INLINE_STEPS + 10)
    made._look((HERE, path, True, False))
    found = made.resolve(HERE, path, True)
    assert at_once in (None, found)
    # Two calls for each of few components; else a stride of a thousand is one call.
    assert len(counted) < 3500
    if kind == "short":
        assert waits is None
    del deep


def test_a_long_walk_leaves_nothing_open(deep):
    """Whether it was given up or not."""
    before = len(os.listdir("/proc/self/fd"))
    for path in KINDS.values():
        looked(Resolver(os.getpid()), os.fsencode(path))
    assert len(os.listdir("/proc/self/fd")) == before
    del deep


def test_many_strings_are_read_where_nobody_waits():
    """A vector of more than some hundred; what is read then is what is there."""
    strings = [b"%d" % at * (at % 7) for at in range(20_000)] + [b"x" * 100_000, b""]
    kept = [ctypes.c_char_p(one) for one in strings]
    vector = (ctypes.c_char_p * (len(kept) + 1))(*kept)
    address = ctypes.addressof(vector)
    made = Vector(os.getpid(), address, 8)
    with pytest.raises(TooManyStrings):
        made.strings(1 << 16, 1 << 21, cut=False, at_once=True)
    assert made.strings(1 << 16, 1 << 21, cut=False, at_once=False) == tuple(strings)
    some = made.strings(MAX_INLINE_STRINGS, 1 << 21, cut=True, at_once=True)
    assert some == tuple(strings[:MAX_INLINE_STRINGS])
