"""The tables of all operations: that they name real calls, real fields, and each call once."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import combinations

import pytest

import notifyd.policy.operations as face
from notifyd.kernel.arch import ARCHES
from notifyd.policy.bound import Variant
from notifyd.policy.call import Call
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.sources import Pair, Reg, Reg16

EVERY = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
THEMES = {"files", "sockets", "processes", "identity", "system"}


def placed(operation: type[Call]) -> list[tuple[str, int, Variant]]:
    """(architecture, number, variant) for every call of an operation that exists somewhere."""
    return [
        (arch.name, arch.numbers[variant.syscall], variant)
        for variant in operation.variants
        for arch in ARCHES.values()
        if variant.syscall in arch.numbers and variant.arch in (None, arch.name)
    ]


@EVERY
def test_every_call_exists_somewhere(operation):
    """A misspelt system call would be watched nowhere."""
    known = {(variant.syscall, variant.arch) for _, _, variant in placed(operation)}
    assert [v for v in operation.variants if (v.syscall, v.arch) not in known] == []


@EVERY
def test_no_call_is_claimed_twice(operation):
    """One call of one architecture has one meaning within an operation."""
    for (arch, number, one), (other_arch, other_number, other) in combinations(
        placed(operation), 2
    ):
        same = (arch, number) == (other_arch, other_number)
        apart = any(dict(one.when).get(at, value) != value for at, value in other.when)
        assert not same or apart, f"{one.syscall} on {arch}"


@EVERY
def test_every_source_feeds_a_field(operation):
    """A source for a field that does not exist would be read by nobody."""
    for variant in operation.variants:
        assert set(variant.sources) <= set(operation.fields), variant.syscall


@EVERY
def test_every_field_has_a_source(operation):
    """A field that no call fills would always read as its default; what is derived has none."""
    fed = {name for variant in operation.variants for name in variant.sources}
    hollow = {
        name for name, field in operation.fields.items() if field.kind not in ("path", "digest")
    }
    assert hollow - fed == set()


@EVERY
def test_registers_are_those_that_a_call_has(operation):
    """A system call has six arguments."""
    for variant in operation.variants:
        for source in variant.sources.values():
            if isinstance(source, (Reg, Reg16)):
                assert source.index in range(6)
            if isinstance(source, Pair):
                assert {source.low, source.high} <= set(range(6))


@EVERY
def test_it_can_be_read_about(operation):
    """The reference is made from docstrings and summaries; each names a man page."""
    assert operation.summary.endswith(".")
    assert re.search(r"\w\(\d\)", operation.__doc__)
    assert operation.theme in THEMES
    assert [name for name, field in operation.fields.items() if not field.summary] == []


@EVERY
def test_paths_resolve_from_fields_that_exist(operation):
    """A path names the text, the directory and the question it depends on."""
    for field in operation.fields.values():
        if field.kind == "path":
            assert field.pathname in operation.fields
            assert field.dirfd is None or field.dirfd in operation.fields
            assert isinstance(field.follow, bool) or hasattr(operation, field.follow)


@EVERY
def test_nothing_of_a_call_itself_is_hidden(operation):
    """An operation's fields and properties leave what every call has alone."""
    own = {name for name in vars(operation) if not name.startswith("__")}
    base = {name for name in dir(Call) if not name.startswith("__")}
    allowed = {"variants", "theme", "fields", "summary", "title"}  # told by the class itself
    allowed |= {"read", "read_string"}  # Exec does the same, and takes note of it
    assert (own & base) - allowed == set()


@EVERY
def test_widths_are_those_that_a_filter_can_test(operation):
    """The compiler of conditions knows bytes, halves, words and double words."""
    assert {field.width for field in operation.fields.values()} <= {8, 16, 32, 64}


@EVERY
def test_every_property_says_what_it_is(operation):
    """What rules ask by name has a docstring."""
    for name, value in vars(operation).items():
        if isinstance(value, property):
            assert value.__doc__, name


def test_the_table_is_sorted_and_complete():
    """`OPERATIONS` and `__all__` list the same classes, in the order of their names."""
    assert list(OPERATIONS) == sorted(OPERATIONS)
    assert set(face.__all__) == {"OPERATIONS", *OPERATIONS}
    assert all(getattr(face, name) is operation for name, operation in OPERATIONS.items())


def test_every_operation_of_the_package_is_in_the_table():
    """A class with variants that nobody registered could not be named in a rule."""

    def below(cls: type[Call]) -> set[type[Call]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    made = {cls for cls in below(Call) if cls.__module__.startswith(face.__name__)}
    assert {cls for cls in made if cls.variants} == set(OPERATIONS.values())


def test_files_are_guarded_on_every_entry():
    """Each architecture has a way to open, execute, connect and clone that an operation knows."""
    for name in ("Open", "Exec", "Connect", "SendTo", "Clone", "Mount", "SetUid", "Chown"):
        assert {arch for arch, _, _ in placed(OPERATIONS[name])} == {"x86_64", "i386", "aarch64"}


def test_names_are_plain_literals():
    """The tables of names cost no import of their own: no module of them imports anything."""
    from importlib import import_module
    from pkgutil import iter_modules

    import notifyd.policy.names as package

    for module in iter_modules(package.__path__):
        source = inspect.getsource(import_module(f"{package.__name__}.{module.name}"))
        imported = [
            node.module
            for node in ast.walk(ast.parse(source))
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        assert imported == ["__future__"], module.name
