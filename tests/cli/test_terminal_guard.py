"""Who may be asked about cannot answer: no way to a terminal but its own."""

import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from window import Window

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

TRY = Path(__file__).with_name("reach_terminal.py")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may write to."""
    with tempfile.TemporaryDirectory(prefix="n") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@pytest.fixture
def came(place: Path) -> Iterator[Callable[..., tuple[dict[str, str], dict[str, str]]]]:
    """`came(*before, who=...)`: what comes of all the ways, run by this command line."""
    (place / "try.py").write_bytes(TRY.read_bytes())
    made: list[Window] = []

    def attempt(*before: str, who: tuple[str, ...] = ()) -> tuple[dict[str, str], dict[str, str]]:
        script = shlex.join([*before, "/usr/bin/python3", str(place / "try.py")])
        (place / "outer").write_text(f"{script} $(tty) $$ {place}\n")
        for name in ("link", "node", "came"):
            (place / name).unlink(missing_ok=True)
        made.append(Window(place, *who, "sh", "outer"))
        assert made[-1].end() == 0, made[-1].shown()
        ways, own = json.loads((place / "came").read_text())
        return ways, own

    yield attempt
    for one in made:
        one.close()


def _run(*more: str) -> list[str]:
    return [sys.executable, "-m", "notifyd", "run", "-q", "--rules", "ask-connect", *more, "--"]


@pytest.mark.root
def test_every_way_to_the_persons_terminal(came):
    """Each works without notifyd, and none with it; what is the program's own stays."""
    native, native_own = came()
    refused = {name for name, result in native.items() if result != "done"}
    # As this machine has it; and outside of a devpts a node of that number is nothing (EIO).
    assert refused <= {"a console", "io_uring", "typing", "by a node"}
    ways, own = came(*_run())
    assert set(ways) == set(native)
    assert [name for name, result in ways.items() if result == "done"] == []
    assert own == native_own


@pytest.mark.root
def test_another_user(came):
    """The same for a command that runs as another user, who has the right to the terminal."""
    ways, own = came(*_run("--user", "nobody"))
    assert [name for name, result in ways.items() if result == "done"] == []
    assert {name: result for name, result in own.items() if result != "done"} == {}


@pytest.mark.root
def test_an_unprivileged_notifyd(came):
    """The same where notifyd is the same user: it cannot be looked into."""
    nobody = "setpriv --reuid nobody --regid nogroup --clear-groups"
    who = ("sh", "-c", f'chmod 666 $(tty); exec {nobody} "$@"', "sh")
    native, native_own = came(who=who)
    assert native["by another process"] == native["memory above"] == "done"
    ways, own = came(*_run(), who=who)
    assert [name for name, result in ways.items() if result == "done"] == []
    assert own == native_own


def test_no_guard_where_nobody_is_asked(came):
    """Rules that never ask keep the command at our terminal, and close nothing."""
    words = [*_run()]
    words[words.index("ask-connect")] = "no-network"
    ways, _ = came(*words)
    assert ways["read only"] == ways["by another process"] == "done"


def test_the_guard_is_a_rule_file():
    """It refuses or has no opinion; nothing in it allows."""
    from notifyd.cli import own_terminal
    from notifyd.policy.load import load_file

    declared = load_file(str(own_terminal._GUARD)).declared
    assert not re.search(r"\bAllow\b", own_terminal._GUARD.read_text())
    assert declared


CONTINUES = """
from notifyd import Ask, Connect, Continue, Open, on

@on(Open)
def watches(call):
    return Continue()

@on(Connect)
def asks(call):
    return Ask("may it?")
"""


@pytest.mark.parametrize("more", [(), ("--otherwise", "deny"), ("--strict",)])
def test_beside_other_rules(place, more):
    """What is not refused is opened as ever, also where what nobody speaks of is refused."""
    words = [*_run(*more), "cat", "/etc/hostname", "/dev/tty"]
    window = Window(place, *words)
    window.until(lambda text: Path("/etc/hostname").read_text().strip() in text)
    window.type("typed\n\x04")
    window.until("typed")
    assert window.end() == 0


@pytest.mark.parametrize("more", [(), ("--otherwise", "deny")])
def test_a_rule_that_lets_the_kernel_go_on(place, tmp_path, more):
    """Continue() of a rule of the person's does not open a foreign terminal."""
    rules = tmp_path / "watch.py"
    rules.write_text(CONTINUES)
    words = _run(*more)
    words[words.index("ask-connect")] = str(rules)
    script = shlex.join([*words, "sh", "-c", "head -c0 $1 || echo none", "sh"])
    (place / "outer").write_text(f"{script} $(tty)\n")
    window = Window(place, "sh", "outer")
    window.end()
    assert "none" in window.shown() or "not permitted" in window.shown()
