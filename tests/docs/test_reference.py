"""docs/reference says what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import notifyd
import notifyd.testing
from notifyd.rulekit import files, network

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(generator: ModuleType) -> None:
    """Whoever changes a table runs `make docs`."""
    assert generator.stale() == [], "run `make docs`"


def test_what_is_out_of_date_is_found(generator: ModuleType, tmp_path: Path) -> None:
    """A page that was changed, one that is missing, and one too many."""
    generator.write(tmp_path)
    assert generator.stale(tmp_path) == []
    (tmp_path / "events.md").write_text("something else\n")
    (tmp_path / "cli.md").unlink()
    (tmp_path / "more.md").write_text(f"{generator.NOTE}more\n")
    (tmp_path / "by-hand.md").write_text("more\n")
    assert generator.stale(tmp_path) == ["cli.md", "events.md", "more.md"]
    generator.write(tmp_path)
    assert generator.stale(tmp_path) == []


def test_all_that_is_exported_is_documented() -> None:
    """`__all__` is sorted, and the page of the Python names has each name of it and no other."""
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    here, _, testing = page.partition("## notifyd.testing")
    here, _, kit = here.partition("## notifyd.rulekit")
    listed = {*re.findall(r"^### `(\w+)", here, re.MULTILINE), *re.findall(r"\[`(\w+)`\]", here)}
    assert listed | {"__version__"} == set(notifyd.__all__)
    assert set(re.findall(r"^### `(\w+)", testing, re.MULTILINE)) == set(notifyd.testing.__all__)
    in_kit = re.findall(r"^### `(\w+)", kit, re.MULTILINE)
    assert in_kit == [*files.__all__, *network.__all__]
    for module in (notifyd, files, network, notifyd.testing):
        constants_first = sorted(module.__all__, key=lambda name: (not name.isupper(), name))
        assert list(module.__all__) == constants_first
        assert all(hasattr(module, name) for name in module.__all__)
