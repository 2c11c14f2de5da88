"""What every shipped rule file has to be."""

import ast

import pytest

from notifyd.policy.load import load_file, shipped, title
from notifyd.policy.lower import lower
from notifyd.policy.ruleset import RuleSet

MOST = 120  # lines of a rule file


@pytest.mark.parametrize("name", shipped())
def test_a_rule_file_is_short_and_says_what_it_is(name):
    """A title that begins with the name, a way to run it, and no more than can be read at once."""
    path = shipped()[name]
    heading = title(path)
    assert heading.lower().startswith(name.replace("-", " ") + ": ")
    assert heading.endswith(".")
    assert "notifyd run" in (ast.get_docstring(ast.parse(path.read_text())) or "")
    assert f"--rules {name}" in path.read_text()
    assert len(path.read_text().splitlines()) <= MOST


@pytest.mark.parametrize("name", shipped())
def test_a_rule_file_loads_without_options(name):
    """Every option has a default, a summary, and the kernel takes what comes out."""
    loaded = load_file(name)
    assert all(one.summary for one in loaded.wanted.values())
    assert lower(RuleSet.build(loaded.declared)).profile.entries
