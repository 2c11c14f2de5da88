"""One word for one thing: names over all packages, and the glossary."""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "notifyd").rglob("*.py"))
GLOSSARY = ROOT / "docs" / "explanation" / "glossary.md"

# Words that the project gave a meaning of its own. Each has a row in the glossary: a reader who
# knows the field cannot know them. To coin one, put it here and there; a word of the field (man
# pages, runtime-spec, trio, policy engines) needs neither.
COINED = {
    *("arrival", "courier", "guard", "helper", "monitor", "operation", "otherwise", "perform"),
    *("pin", "racy", "relay", "section", "target", "tracer", "traveller", "workload", "zygote"),
}

# Words that meant several things, or nothing to anybody else, and what is said instead.
RETIRED = {
    "Case": "Notification",
    "Deed": "PerformedCall",
    "Desk": "ApprovalQueue, ControlContext, WebContext",
    "Draft": "RequestBuilder",
    "Inquiry": "Evaluation",
    "Keeper": "FdStore",
    "Known": "EventTemplate",
    "Outcome": "Response",
    "Persona": "Credentials",
    "Quick": "FastPlan",
    "Recipe": "Performer",
    "Scenes": "QuestionContexts",
    "Supervised": "Workload",
    "complaints": "refusal_log",
    "foresee": "before_decision",
    "harmless": "sanitize",
    "heed": "note_change",
    "looks": "file_signatures",
    "scenes": "question_context",
    "tally": "counters",
    "tidy": "to_json, prune",
}

# What is bounded has a name that says so, and in which unit.
VAGUE = {
    "LOOK": "..._INTERVAL_S, or ..._FLAGS",
    "KEPT": "..._CACHE_SIZE",
    "LONGEST": "MAX_...",
    "DEEPEST": "MAX_...",
    "MOST": "MAX_...",
    "PATIENCE": "..._TIMEOUT_S",
    "SOON": "..._TIMEOUT_S",
}


def module_name(path: Path) -> str:
    """A file as a module: `notifyd.kernel.proc`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_bytes(), path)


def constants(body: list[ast.stmt]) -> Iterator[str]:
    """The constants that a module defines, type variables aside."""
    for node in body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            targets, value = [node.target], node.value
        else:
            continue
        called = value.func if isinstance(value, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == "TypeVar":
            continue
        for one in targets:
            if isinstance(one, ast.Name) and re.fullmatch(r"_?[A-Z][A-Z0-9_]*", one.id):
                yield one.id


def defined() -> Iterator[tuple[str, str]]:
    """All classes and public constants, as name and module; what is re-exported is defined once."""
    for path in MODULES:
        body = tree(path).body
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield node.name, module_name(path)
        for name in constants(body):
            if not name.startswith("_"):
                yield name, module_name(path)


@cache
def identifiers() -> tuple[tuple[str, str], ...]:
    """All names of modules, classes, functions and constants, with where they are."""
    found = []
    for path in MODULES:
        kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        inner = [node.name for node in ast.walk(tree(path)) if isinstance(node, kinds)]
        names = path.stem, *constants(tree(path).body), *inner
        found += [(name, module_name(path)) for name in names]
    return tuple(found)


def words_of(name: str) -> set[str]:
    """The words of a name: `RequestBuilder`, `_request_builder` and `REQUEST_BUILDER` alike."""
    if name.isupper():
        return set(name.strip("_").split("_"))
    return {part for one in name.split("_") for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", one)}


def glossary() -> list[str]:
    """The words that the glossary explains, in its order."""
    rows = re.findall(r"^\| ([^|]+?) \|", GLOSSARY.read_text(), re.MULTILINE)
    return [row for row in rows if row not in ("word", "---")]


def test_a_name_means_one_thing() -> None:
    """No two packages have a class or a public constant of one name."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, module in defined():
        places[name].append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("word", RETIRED)
def test_a_word_that_was_given_up_does_not_come_back(word: str) -> None:
    """As a class it may be a part of no name of a class, else of no name at all."""
    found = [
        f"{place}: {name}"
        for name, place in identifiers()
        if (word in words_of(name) if word[0].isupper() else word in words_of(name.lower()))
    ]
    assert found == [], f"say {RETIRED[word]}"


@pytest.mark.parametrize("word", VAGUE)
def test_a_bound_says_of_what_and_in_which_unit(word: str) -> None:
    """Constants are called `MAX_HELPERS`, `LOCK_TIMEOUT_S`, `HUB_POLL_INTERVAL_S`."""
    found = [
        f"{module_name(path)}: {name}"
        for path in MODULES
        for name in constants(tree(path).body)
        if word in words_of(name)
    ]
    assert found == [], f"say {VAGUE[word]}"


def test_an_error_that_a_docstring_names_is_there() -> None:
    """Of our own, by its name today; of Python; or of a library, with the library's name."""
    known = {name for name, _ in defined()} | set(dir(builtins))
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    found = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            text = (ast.get_docstring(node) or "") if isinstance(node, kinds) else ""
            raises = text.partition("Raises:\n")[2].partition("\n\n")[0]
            for names in re.findall(r"^    (\w+(?:, \w+)*):", raises, re.M):
                strangers = set(names.split(", ")) - known
                found += [f"{module_name(path)}: {one}" for one in strangers]
    assert found == []


def test_the_glossary_has_each_word_once() -> None:
    """One word, one meaning."""
    rows = glossary()
    assert len(rows) > len(COINED)
    assert sorted(rows) == sorted(set(rows))


def test_coined_words_are_in_the_glossary() -> None:
    """What nobody can know is explained."""
    assert COINED - set(glossary()) == set()


def test_coined_words_are_used() -> None:
    """A word that the code has no more leaves the list and the glossary."""
    text = " ".join(path.read_text() for path in MODULES).lower()
    unused = {word for word in COINED if not re.search(rf"(?<![a-z]){word}", text)}
    assert unused == set()


def test_words_of_the_glossary_are_used() -> None:
    """Nothing is explained that code and pages do not say."""
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path != GLOSSARY]
    text = " ".join(path.read_text() for path in [*MODULES, *pages]).lower()
    text = re.sub(r"\s+", " ", text)
    missing = [word for word in glossary() if word.lower() not in text]
    assert missing == []
