"""The house stays as it was built: who may import whom, how long files are, what they say first."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import notifyd

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "notifyd").rglob("*.py"))
RULES = sorted((ROOT / "rules").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_FILE = 400  # lines
LONGEST_RULE = 120  # lines
LONGEST_FUNCTION = 40  # lines from `def` to its end, docstring and all parameters counted apart
TOP = {"docs", "notifyd", "rules", "systemd", "tests"}

# Who alone may import what.
KEPT = {"ctypes": "kernel", "fcntl": "kernel", "pyseccomp": "bpf"}


def name(path: Path) -> str:
    """A path as it is called in reports."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_bytes(), path)


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file and how many lines its body has, without its docstring."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield f"{name(path)}:{node.name}", lines


def test_arrows_point_one_way() -> None:
    """The contracts of pyproject.toml, checked by import-linter."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("library", KEPT)
def test_only_one_package_imports_it(library: str) -> None:
    """Inside functions too, where import-linter would also look."""
    home = ROOT / "notifyd" / KEPT[library]
    users = [path for path in MODULES if library in imported(path)]
    assert users
    assert [name(path) for path in users if home not in path.parents] == []


def test_files_are_short() -> None:
    """A file is about one noun; a rule can be read at a glance."""
    long = {name(path): len(path.read_text().splitlines()) for path in [*MODULES, *TESTS]}
    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE} == {}
    rules = {name(path): len(path.read_text().splitlines()) for path in RULES}
    assert {path: lines for path, lines in rules.items() if lines > LONGEST_RULE} == {}


def test_functions_are_short() -> None:
    """What is longer does more than one thing."""
    found = (one for path in MODULES for one in functions(path))
    assert [one for one in found if one[1] > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", [*MODULES, *RULES], ids=name)
def test_every_file_says_what_it_owns(path: Path) -> None:
    """In its first line, as a sentence or a title."""
    document = ast.get_docstring(tree(path)) or ""
    assert document.partition("\n")[0].endswith((".", ":"))


def test_every_test_says_what_holds() -> None:
    """A docstring each."""
    silent = [
        f"{name(path)}:{node.name}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_top_has_its_folders_and_no_others() -> None:
    """Whoever opens the house sees all of its rooms."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert {one for one in folders if not one.startswith(".")} <= TOP


def test_the_version_is_one() -> None:
    """The package, its metadata and the changelog agree."""
    assert f'\nversion = "{notifyd.__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\n## {notifyd.__version__}" in (ROOT / "CHANGELOG.md").read_text()
