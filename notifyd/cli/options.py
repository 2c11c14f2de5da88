"""What more than one command takes or shows: rules, their settings, JSON; a list of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from notifyd.cli.completion import complete_rules
from notifyd.errors import UsageError

__all__ = ["Sentences", "as_json", "options_of", "remaining", "rules_and_options"]

F = TypeVar("F", bound=Callable[..., Any])


class Sentences(click.Group):
    """A group whose help has the whole first sentence of each command; click cuts it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands, sorted."""
        rows = [(name, one.get_short_help_str(400)) for name, one in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def options_of(
    ctx: click.Context | None,  # noqa: ARG001
    param: click.Parameter | None,  # noqa: ARG001
    given: tuple[str, ...],
) -> dict[str, list[str]]:
    """`--option NAME=VALUE`s by name, as a callback of click's.

    Raises:
        UsageError: one without `=`.
    """
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {text!r}: write it as NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


def rules_and_options(*, required: bool, more: str = "") -> Callable[[F], F]:
    """`--rules`, a tuple, and `--option`, values by name.

    Args:
        required: whether there have to be rules.
        more: what else to say of giving several.
    """

    def decorate(function: F) -> F:
        function = click.option(
            "-o",
            "--option",
            "options",
            multiple=True,
            callback=options_of,
            metavar="NAME=VALUE",
            help="A setting of the rules; `notifyd rules --options NAME` shows which they take.",
        )(function)
        return click.option(
            "-r",
            "--rules",
            multiple=True,
            required=required,
            metavar="NAME|FILE",
            shell_complete=complete_rules,
            help=f"A shipped rule's name or a rule file. May be given again{more}.",
        )(function)

    return decorate


def remaining(function: F) -> F:
    """`--otherwise`, "allow" or "deny", and `--strict`."""
    function = click.option(
        "--strict", is_flag=True, help="Refuse Continue() by a rule that read memory."
    )(function)
    return click.option(
        "--otherwise",
        type=click.Choice(["allow", "deny"]),
        default="allow",
        show_default=True,
        help="The verdict if no rule that was asked had an opinion.",
    )(function)


def as_json(function: F) -> F:
    """The option of all that programs can read."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
