"""Races: what is executed changes while it is decided, as fast as C can change it.

The rule allows one program, one argument or one digest. The victim's first instructions leave a
mark if it is another one: nothing forbidden ever begins. Behind Continue() it does.
"""

import shutil
import sys

import pytest

TRIES = 15_000
PATIENCE = 240.0  # seconds for so many tries on a busy machine
BOUND = 40_000  # tries in which an attack on Continue() has to succeed
BELOW = "call.path.is_relative_to(SAFE)"
WAYS = {
    "memory": BELOW,
    "script": BELOW,
    "link": BELOW,
    "parent": BELOW,
    "argv": "call.argv[1] == b'good'",
    "replace": "call.sha256 == DIGEST",
    "content": "call.sha256 == DIGEST",
}
RULE = """
import hashlib
from pathlib import PurePosixPath
SAFE = PurePosixPath({safe!r})
DIGEST = hashlib.sha256(open("safe/n", "rb").read()).hexdigest()

@on(Exec)
def judge(call):
    if call.pathname.endswith(b"execrace"):
        return Continue()
    return {verdict}() if {judged} else Deny(errno.EACCES)
"""
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def fight(build, rule, native, tmp_path):
    """Run execrace.c behind a rule with this verdict: tries, refused, executed, killed, begun."""

    def fighter(way, verdict, tries, until):
        here = tmp_path / "here"
        for name, mark in (("safe", b"g"), ("evil", b"e")):
            (here / name).mkdir(parents=True)
            shutil.copy(build("victim", "-nostdlib", "-static"), here / name / "n")
            data = (here / name / "n").read_bytes()
            (here / name / "n").write_bytes(data.replace(b"MARK:g", b"MARK:" + mark))
        at = str(data.index(b"MARK:g") + 5)
        (here / "safe" / "d").mkdir()
        for name in ("safe", "evil"):
            (here / name / "s").write_text("#!safe/n\n")
            (here / name / "s").chmod(0o755)
        (here / "link").symlink_to("safe/n")
        (here / "other").symlink_to("evil/n")
        text = RULE.format(safe=str(here / "safe"), verdict=verdict, judged=WAYS[way])
        line = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", rule(text, pulse=False))
        words = (*line, "--", build("execrace"), str(tries), until, way, at)
        ran = native(*words, cwd=here, patience=PATIENCE)
        assert (ran.status, ran.err) == (7, "")
        return tuple(map(int, ran.out.split()))

    return fighter


@every_way
def test_what_was_not_allowed_never_begins(way, fight):
    """In 15,000 tries of most ways; some are refused, some run, some are killed at the last."""
    most = TRIES if way in ("memory", "link", "parent", "argv") else TRIES // 3
    found = fight(way, "Allow", most, "all")
    tries, refused, executed, killed, forbidden = found
    assert tries >= most
    assert forbidden == 0
    # A race that always ends in the same way is none.
    assert refused, found
    assert executed, found
    assert killed or way in ("link", "parent"), found


@every_way
def test_the_same_attack_works_where_the_kernel_looks_again(way, fight):
    """Behind Continue() every way succeeds."""
    assert fight(way, "Continue", BOUND, "first")[4] == 1
