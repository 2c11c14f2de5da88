"""Memory that a target never lets us read: its own call waits, and nobody else's."""

from pathlib import Path

import pytest

OBSERVER = str(Path(__file__).with_name("rules") / "observer.py")


@pytest.mark.parametrize("what", ["open", "connect", "exec", "device"])
def test_a_look_that_waits_for_ever_stalls_nobody_else(what, build, rule, run):
    """Behind a page of userfaultfd(2) one call waits; others are answered meanwhile."""
    ran = run("--rules", rule(""), "--rules", OBSERVER, "--", build("lazy"), what)
    assert (ran.status, ran.lines) == (7, ["4711 waits"])


def test_an_event_that_waits_for_ever_stalls_nobody_else(build, rule, run):
    """A rule that looks at nothing: taking down the arguments must not stall the others either."""
    ran = run("--rules", rule(""), "--rules", "audit-exec", "--", build("lazy"), "exec")
    assert (ran.status, ran.lines[0].split()[0]) == (7, "4711")


@pytest.mark.parametrize("what", ["path", "map"])
def test_a_file_system_that_never_answers_stalls_nobody_else(what, build, rule, run, tmp_path):
    """A path or a mapped page behind a file system in user space: only its own call waits."""
    ran = run("--rules", rule(""), "--rules", OBSERVER, "--", build("lazyfs"), what, cwd=tmp_path)
    assert (ran.status, ran.lines) == (7, ["4711 waits"])
