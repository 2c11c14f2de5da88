"""Loading rule files: all or nothing, and every failure is one line with its place."""

import sys

import pytest

from notifyd.errors import UsageError
from notifyd.policy.load import find, load, load_file, shipped, shipped_folder, title
from notifyd.policy.rule import Setting

GOOD = "from notifyd import Allow, Open, on\n@on(Open)\ndef rule(call):\n    return Allow()\n"


@pytest.fixture
def file(tmp_path):
    """Write a rule file; its path as a person gives it."""

    def write(text: str, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_what_ships_is_found_by_name():
    """Dashes for underscores; the folder is where the files are."""
    assert find("no-network") == shipped_folder() / "no_network.py"
    assert list(shipped()) == sorted(shipped())
    assert all(path.is_file() for path in shipped().values())


def test_a_path_is_a_path(file, tmp_path, monkeypatch):
    """With a slash or with .py, also one that has a shipped rule's name."""
    path = file(GOOD)
    assert str(find(path)) == path
    monkeypatch.chdir(tmp_path)
    assert find("mine.py").name == "mine.py"
    file(GOOD, "no-network")
    assert str(find("./no-network")) == "no-network"
    assert find("no-network") == shipped()["no-network"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-netwrk", "did you mean 'no-network'"),
        ("zzz", "give a file with a / or .py"),
        ("./zzz", "no rule file ./zzz: check the path"),
        ("zzz.py", "no rule file zzz.py"),
    ],
)
def test_what_is_not_there(name, text):
    """The remedy is in the line."""
    with pytest.raises(UsageError, match=text):
        find(name)


def test_a_file_is_run_alone(file):
    """Its declarations and its options; nothing of it stays among the modules."""
    before = set(sys.modules)
    loaded = load_file(file(GOOD + "from notifyd import option\nX = option('x', 1, convert=int)\n"))
    assert [one.name for one in loaded.declared] == ["mine.py:rule"]
    assert loaded.wanted == {"x": Setting(1, "", False)}
    assert set(sys.modules) == before


def test_a_file_may_have_dataclasses(file):
    """Which look their module up by name while it is made."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Place:\n    name: str\n"
    )
    assert load_file(file(text + GOOD.replace("from __future__", ""))).declared


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:\n", r"mine\.py:1: "),
        ("\n\nimport nowhere_at_all\n", r"mine\.py:3: ModuleNotFoundError: "),
        ("\n1/0\n", r"mine\.py:2: ZeroDivisionError: "),
        ("import sys\nsys.exit(3)\n", r"mine\.py:2: SystemExit: 3"),
        ("open('/nowhere')\n", r"mine\.py:1: FileNotFoundError: "),
        ("from notifyd import *\n@on(Open, flag=1)\ndef f(c): pass\n", r"mine\.py:2: TypeError: "),
        ("x = 1\n", r"mine\.py: declares no rule; decorate a function with @on"),
        ("", r"mine\.py: declares no rule"),
        ("raise ValueError('x' * 100_000)\n", r"mine\.py:1: ValueError: x{500}…$"),
        (
            "class E(Exception):\n  def __str__(self): raise E\nraise E\n",
            r"mine\.py:3: E: its text cannot be shown",
        ),
        ("a = 'a\0b'\n", r"mine\.py:1: "),
        ("from notifyd import *\n@on(Raw('nonsens'))\ndef f(c): pass\n", r"mine\.py:2: no system"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(file, text, reason):
    """File, line, reason."""
    with pytest.raises(UsageError, match=reason) as caught:
        load([file(text)])
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read(file, tmp_path):
    """What the kernel said; a directory is no file at all."""
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match="no rule file"):
        load_file(str(tmp_path / "folder.py"))


def test_several_files_in_their_order(file):
    """One rule set of all; an option goes to whoever knows it."""
    first = file(GOOD, "first.py")
    second = file(
        GOOD.replace("rule(", "other(") + "from notifyd import option\nX = option('x', '')\n",
        "second.py",
    )
    rules = load([first, second], options={"x": ["1"]})
    assert [one.name for one in rules.declarations] == ["first.py:rule", "second.py:other"]


def test_all_that_is_wrong_is_said_at_once(file):
    """A line for every file that cannot be loaded, and for every option that none knows."""
    with pytest.raises(UsageError) as caught:
        load([file("x =", "first.py"), file(GOOD), "harmles-devices", file("", "last.py")])
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0].rpartition("/")[2] for line in lines] == [
        "first.py",
        "no shipped rule is named 'harmles-devices'; did you mean 'harmless-devices'? "
        "`notifyd rules` lists them",
        "last.py",
    ]
    with pytest.raises(UsageError) as caught:
        load([file(GOOD)], options={"y": ["1"], "z": ["2"]})
    assert len(str(caught.value).splitlines()) == 2


def test_an_option_that_nobody_knows(file):
    """Is a mistake, with those that there are."""
    with pytest.raises(UsageError, match="no option 'y' in these rules; they take none"):
        load([file(GOOD)], options={"y": ["1"]})
    known = file(GOOD + "from notifyd import option\noption('x', '')\n")
    with pytest.raises(UsageError, match="they know: x"):
        load([known], options={"y": ["1"]})


def test_an_option_that_is_needed(file):
    """Rules that protect nothing without it are not put in force; their filter can be had."""
    known = file(GOOD + "from notifyd import option\noption('x', (), summary='why', needed=True)\n")
    for options in ({}, {"x": []}):
        with pytest.raises(
            UsageError, match=r"mine\.py does nothing without its option 'x' \(why\)"
        ):
            load([known], options=options)
    assert load([known], options={"x": ["1"]}).rules
    assert load([known], deciding=False).rules


def test_a_title_is_read_without_running(file):
    """The first line of the docstring; nothing where there is none."""
    from pathlib import Path

    assert title(Path(file('"""First.\n\nSecond."""\n1/0\n'))) == "First."
    assert title(Path(file("1/0\n"))) == ""
