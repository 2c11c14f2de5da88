"""Shipped rules in pairs, in both orders: each refuses and changes what it does alone."""

import os
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PROBES = """
import subprocess
box, outside = sys.argv[1:3]

def text(path):
    with open(path) as file:
        return file.read()

def write(path):
    with open(path, "a") as file:
        file.write("more")

def program():
    return subprocess.run(["/usr/bin/id", "-u"], capture_output=True, check=True).stdout and "ran"

def unshare():
    if libc.unshare(0x04000000):  # CLONE_NEWUTS
        raise OSError(ctypes.get_errno(), "")

attempt("only-below", text, f"{outside}/file")
attempt("readonly", write, f"{box}/kept/file")
attempt("secrets", text, f"{box}/secret")
attempt("redirect-home", text, f"{box}/home/file")
attempt("exec-allowlist", program)
attempt("no-network", lambda: socket.socket(socket.AF_INET6).close())
attempt("connect-allowlist", lambda: socket.socket().connect(("127.0.0.1", 9)))
attempt("no-privilege-escalation", unshare)
"""

NATIVE = {
    "only-below": "outside",
    "readonly": "done",
    "secrets": "secret",
    "redirect-home": "real",
    "exec-allowlist": "ran",
    "no-network": "done",
    "connect-allowlist": "ECONNREFUSED",
    "no-privilege-escalation": "done",
}


@pytest.fixture(scope="module")
def places():
    """A box with what the rules are about in it, and a place outside of it. Not in /tmp."""
    home = "/srv" if os.access("/srv", os.W_OK) else str(Path.home())
    with TemporaryDirectory(dir=home) as name:
        there = Path(name)
        for path, text in (
            ("box/kept/file", "kept"),
            ("box/secret", "secret"),
            ("box/shown", "shown"),
            ("box/home/file", "real"),
            ("box/trial/file", "trial"),
            ("outside/file", "outside"),
            ("outside/trial/file", "trial"),
        ):
            (there / path).parent.mkdir(parents=True, exist_ok=True)
            (there / path).write_text(text)
        yield there


@pytest.fixture
def options(places, system_python):
    """What each rule is given, under names that say whose it is."""
    box = places / "box"
    return {
        "only-below.allow": str(box),
        "readonly.below": str(box / "kept"),
        "secrets.file": f"{box}/secret={box}/shown",
        "redirect-home.from": str(box / "home"),
        "redirect-home.to": str(box / "trial"),
        "exec-allowlist.path": os.path.realpath(system_python),
        "connect-allowlist.to": "192.0.2.1:1",
    }


@pytest.fixture
def probed(run, places, options, program, system_python):
    """What the probes come to under rules, in this order; under none of them natively."""

    def start(*rules, **more):
        given = {name: one for name, one in options.items() if name.partition(".")[0] in rules}
        words = [
            os.path.realpath(system_python), "-I", "-c", program(PROBES),
            str(places / "box"), str(places / "outside"),
        ]  # fmt: skip
        ran = run(list(rules), *words, **{**given, **more})
        assert set(ran.found) == set(NATIVE), ran.err
        return ran.found

    return start


@pytest.fixture(scope="module")
def known():
    """What the probes came to under one rule, which need not be found out again."""
    return {}


@pytest.fixture
def alone(probed, known):
    """What the probes come to under one rule: it is about one of them at least."""

    def start(rule):
        if rule not in known:
            known[rule] = probed(rule)
        return known[rule]

    return start


def test_natively_all_of_it_works(probed):
    """A rule that only watches leaves the probes as they are."""
    assert probed("audit-exec") == NATIVE


@pytest.mark.parametrize("rules", list(permutations(NATIVE, 2)), ids="+".join)
def test_two_rules_refuse_and_change_what_each_does_alone(rules, probed, alone):
    """Whichever stands first: nothing that one of them refuses comes through."""
    first, second = (alone(rule) for rule in rules)
    together = probed(*rules)
    for name, natively in NATIVE.items():
        said = {one[name] for one in (first, second)} - {natively} or {natively}
        assert together[name] in said, (name, together)
    assert all(alone(rule)[rule] != NATIVE[rule] for rule in rules)


def test_all_at_once(probed, alone):
    """Every probe comes to what its own rule makes of it, in this order and the other."""
    wanted = {rule: alone(rule)[rule] for rule in NATIVE}
    for rules in (tuple(NATIVE), tuple(reversed(NATIVE))):
        found = probed(*rules)
        assert {name for name in NATIVE if found[name] == NATIVE[name]} == set()
        assert found["redirect-home"] == wanted["redirect-home"]


def test_what_is_led_elsewhere_is_judged_there(probed, places):
    """By a rule that stands behind: outside of the box is outside, whatever it was called."""
    outside = {"redirect-home.to": str(places / "outside" / "trial")}
    assert probed("redirect-home", **outside)["redirect-home"] == "trial"
    assert probed("redirect-home", "only-below", **outside)["redirect-home"] == "EACCES"
    # The one that stands before has judged the name that the program gave.
    assert probed("only-below", "redirect-home", **outside)["redirect-home"] == "trial"


def test_a_private_tmp_lets_nothing_through(run, places, system_python):
    """It answers for every path, and switches no other rule off."""
    code = f"print(open('{places}/outside/file').read())"
    box = {"only-below.allow": (str(places / "box"), "/tmp")}
    for rules in (["tmp-private", "only-below"], ["only-below", "tmp-private"]):
        ran = run(rules, os.path.realpath(system_python), "-I", "-c", code, **box)
        assert ran.status == 1
        assert "PermissionError" in ran.err
