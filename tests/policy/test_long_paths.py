"""Rules that ship: a path of 2,000 components costs them about as much as a short one."""

import sys

import pytest

from notifyd import Chmod, Open, Rename
from notifyd.testing import load_rules, make_call, verdict_of

LONG = "/d" * 2000 + "/x"
SETS = {
    "only-below": {"allow": "/usr"},
    "readonly": {"below": "/usr"},
    "ask-write": {"below": "/usr"},
    "fakeroot": {},
    "redirect-home": {"from": "/srv", "to": "/tmp"},
    "tmp-private": {},
}


def calls_for(rules, path):
    """How many functions of Python are called to decide about a path."""
    made = [
        make_call(Open, path=path, flags=0o2),
        make_call(Chmod, path=path, mode=0o600),
        make_call(Rename, oldpath=path, newpath=path + "y"),
    ]
    count = 0

    def counting(_, event, __):
        nonlocal count
        count += event == "call"

    for one in made:
        sys.setprofile(counting)
        try:
            verdict_of(rules, one)
        finally:
            sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", SETS)
def test_no_shipped_rule_takes_each_folder_of_a_path(name):
    """What makes each folder above a path is quadratic; to take its components once is not."""
    rules = load_rules(name, **SETS[name])
    calls_for(rules, "/d/x")
    short, long = calls_for(rules, "/d/x"), calls_for(rules, LONG)
    assert long < short + 3 * LONG.count("/")
