"""`notifyd rules`: what ships, what a rule file says, and what it becomes in the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from notifyd.cli.columns import columns
from notifyd.cli.completion import complete_operations, complete_rules
from notifyd.cli.options import options_of
from notifyd.errors import UsageError
from notifyd.policy.load import RuleFile, find, load, load_file, shipped, title
from notifyd.policy.ruleset import RuleSet

__all__ = ["command"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", shell_complete=complete_rules)
@click.option("--filter", "filters", is_flag=True, help="Show what they become in the kernel.")
@click.option(
    "--order", "order", is_flag=True, help="Show which rule is asked about what, in order."
)
@click.option("--options", "wants", is_flag=True, help="Show which settings they take.")
@click.option("--operations", "every", is_flag=True, help="List what a rule can be about.")
@click.option(
    "--operation",
    metavar="NAME",
    help="Show one operation: its fields and its system calls. A system call's name will do.",
    shell_complete=complete_operations,
)
@click.option(
    "-o",
    "--option",
    "given",
    multiple=True,
    callback=options_of,
    metavar="NAME=VALUE",
    help="A setting for --filter and --order.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (not for --filter).")
def command(
    names: tuple[str, ...],
    filters: bool,
    order: bool,
    wants: bool,
    every: bool,
    operation: str | None,
    given: dict[str, list[str]],
    as_json: bool,
) -> None:
    """List the rules that ship, or show one, by name or file; or how several add up.

    \b
    notifyd rules
    notifyd rules no-network
    notifyd rules only-below connect-allowlist
    notifyd rules no-network --filter
    notifyd rules --operation openat
    """  # noqa: D301 (click's mark is the character itself)
    _check(names, (filters, order, wants), every, operation, given, as_json)
    if every or operation is not None:
        _operations(operation, as_json)
    elif filters:
        from notifyd.cli.filter_view import show_filter

        _print(show_filter(load(names, options=given, deciding=False)))
    elif order or (len(names) > 1 and not (wants or as_json)):
        _order(load(names, options=given, deciding=False), as_json)
    elif wants or (names and as_json):
        _options([load_file(name) for name in names], as_json)
    elif names:
        _text(names[0])
    else:
        _listing(as_json)


def _check(
    names: Sequence[str],
    about: tuple[bool, bool, bool],
    every: bool,
    operation: str | None,
    given: Mapping[str, object],
    as_json: bool,
) -> None:
    filters, order, wants = about
    if sum((*about, every, operation is not None)) > 1:
        raise UsageError(
            "--filter, --order, --options, --operations and --operation: one of them at a time"
        )
    if any(about) and not names:
        raise UsageError("which rules? `notifyd rules` lists those that ship")
    if names and (every or operation is not None):
        raise UsageError("--operations is about no rule file; leave the names out")
    if given and (wants or not (filters or order or len(names) > 1)):
        raise UsageError("--option goes with --filter and --order; `notifyd run` takes it too")
    if as_json and filters:
        raise UsageError("--filter has no JSON form")


def _listing(as_json: bool) -> None:
    rows = [(name, title(path), str(path)) for name, path in shipped().items()]
    if as_json:
        _print_json([{"name": name, "title": text, "file": path} for name, text, path in rows])
    else:
        _print(columns((name, _without_name(name, text)) for name, text, _ in rows))


def _without_name(name: str, text: str) -> str:
    """A title without the name that it begins with."""
    head, colon, rest = text.partition(": ")
    return rest if colon and head.lower() == name.replace("-", " ") else text


def _text(name: str) -> None:
    path = find(name)
    try:
        click.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _order(rules: RuleSet, as_json: bool) -> None:
    from notifyd.cli.rule_order import as_data, show_order

    if as_json:
        _print_json(as_data(rules))
    else:
        _print(show_order(rules))


def _options(files: Sequence[RuleFile], as_json: bool) -> None:
    if as_json:
        _print_json([_as_data(file) for file in files])
        return
    for file in files:
        rows = [
            (f"{name}={_default(one.default)}", f"{one.summary}{'; needed' if one.needed else ''}")
            for name, one in file.wanted.items()
        ]
        heading = f"{file.name} takes no options" if not rows else f"{file.name}, with its defaults"
        _print([heading, *columns(rows, "  ")])


def _default(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ",".join(str(one) for one in values)


def _as_data(file: RuleFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "title": title(file.path),
        "file": str(file.path),
        "declares": [one.name for one in file.declared],
        "options": [
            {
                "name": name,
                "default": list(one.default)
                if isinstance(one.default, tuple)
                else str(one.default),
                "several": isinstance(one.default, tuple),
                "needed": one.needed,
                "summary": one.summary,
            }
            for name, one in file.wanted.items()
        ],
    }


def _operations(name: str | None, as_json: bool) -> None:
    from notifyd.cli import operations
    from notifyd.policy.operations import OPERATIONS

    chosen = list(OPERATIONS.values()) if name is None else [operations.find_operation(name)]
    if as_json:
        data = [operations.as_data(one) for one in chosen]
        _print_json(data if name is None else data[0])
    elif name is None:
        _print(operations.list_operations())
    else:
        _print(operations.show_operation(chosen[0]))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))
