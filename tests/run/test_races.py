"""Races: what a call means changes while it is decided, as fast as C can change it.

Rules allow what lies below one directory. race.c flips between that directory and a forbidden one:
the path in memory, also from another process, a link on the way, the last component, a directory,
a dirfd, the working directory, the flags behind openat2's pointer, the address of a socket.
"""

import sys
from dataclasses import dataclass

import pytest

MEMORY = ("memory", "shared")
NAMES = (*MEMORY, "link", "middle", "parent", "dirfd", "cwd")
FOLLOWED = (*NAMES, "last")


@dataclass(frozen=True)
class Attack:
    """What race.c does, how a rule judges it, and what is flipped."""

    call: str
    about: str
    judged: str
    ways: tuple[str, ...] = MEMORY

    def __str__(self):
        return f"{self.call}-{'path' if 'safe' not in self.judged else 'text'}"


CREATES = "Open, flags=has(os.O_CREAT)"
BELOW = "call.{}.is_relative_to(SAFE)"
TEXT = "call.{} == b'safe/n'"
ATTACKS = (
    Attack("open", "Open, flags=0", BELOW.format("path"), FOLLOWED),
    Attack("create", CREATES, BELOW.format("path"), FOLLOWED),
    Attack("mkdir", "Mkdir", BELOW.format("path"), NAMES),
    Attack("symlink", "Symlink", BELOW.format("linkpath"), NAMES),
    Attack("rename", "Rename, flags=0", BELOW.format("newpath"), NAMES),
    Attack("unlink", "Unlink, flags=0", BELOW.format("path"), NAMES),
    Attack("link", "Link", BELOW.format("oldpath"), FOLLOWED),
    Attack("open", "Open, flags=0", TEXT.format("pathname")),
    Attack("create", CREATES, TEXT.format("pathname")),
    Attack("mkdir", "Mkdir", TEXT.format("pathname")),
    Attack("symlink", "Symlink", TEXT.format("linkpathname")),
    Attack("rename", "Rename, flags=0", TEXT.format("newpathname")),
    Attack("unlink", "Unlink, flags=0", TEXT.format("pathname")),
    Attack("link", "Link", TEXT.format("oldpathname")),
    Attack("how", "Open", "call.syscall != 'openat2' or not call.writes"),
    Attack("connect", "Connect", TEXT.format("address.path")),
)
TRIES = -(-100_000 // sum(len(attack.ways) for attack in ATTACKS))  # 100,000 over all ways
PATIENCE = 240.0  # seconds for so many tries on a busy machine
BOUND = 200_000  # tries in which an attack on Continue() has to succeed
RULE = """
from pathlib import PurePosixPath
SAFE = PurePosixPath({safe!r})

@on({about})
def judge(call):
    return {verdict}() if {judged} else Deny(errno.EACCES)
"""
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=str)


@dataclass(frozen=True)
class Figures:
    """What came of the tries of one way."""

    tried: int
    done: int
    refused: int
    other: int
    forbidden: int


@pytest.fixture
def fight(build, rule, native, tmp_path):
    """Run race.c behind a rule with this verdict; returns its figures by way."""

    def fighter(attack, verdict, tries, until):
        here = tmp_path / "here"
        here.mkdir()
        text = RULE.format(
            safe=str(here / "safe"), about=attack.about, verdict=verdict, judged=attack.judged
        )
        # Without events: a hundred thousand of them would be most of the work.
        line = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", rule(text, pulse=False))
        more = (attack.call, str(tries), until, *attack.ways)
        assert native(build("race"), attack.call, cwd=here).status == 7
        ran = native(*line, "--", build("race"), *more, cwd=here, patience=PATIENCE)
        assert (ran.status, ran.err) == (7, "")
        rows = [row.split() for row in ran.lines]
        found = {name: Figures(*map(int, figures)) for name, *figures in rows}
        assert tuple(found) == attack.ways
        return found

    return fighter


@every_attack
def test_what_was_not_allowed_never_happens(attack, fight):
    """None of over 100,000 tries in all has a forbidden effect; some are done, some refused."""
    found = fight(attack, "Allow", TRIES, "all")
    assert min(one.tried for one in found.values()) >= TRIES
    assert {way: one.forbidden for way, one in found.items()} == dict.fromkeys(attack.ways, 0)
    # A race that always ends in the same way is none.
    assert all(one.done and one.refused for one in found.values()), found


@every_attack
def test_the_same_attack_works_where_the_kernel_looks_again(attack, fight):
    """Behind Continue() every way succeeds."""
    found = fight(attack, "Continue", BOUND, "first")
    assert {way: one.forbidden for way, one in found.items()} == dict.fromkeys(attack.ways, 1)
