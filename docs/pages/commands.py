"""The command line."""

from __future__ import annotations

from importlib import import_module

import click

from notifyd.cli import SUBCOMMANDS, cli
from pages.markdown import paragraphs, table


def command_line() -> str:
    """Every command: how it is called, what it does, its options."""
    parts = [
        "# Command line",
        paragraphs(cli.help),
        table(("command", "what it does"), [(f"`{n}`", text) for n, text in SUBCOMMANDS.items()]),
    ]
    for name in sorted(SUBCOMMANDS):
        command: click.Command = import_module(f"notifyd.cli.{name}").command
        parts += one_command(f"notifyd {name}", command)
        if isinstance(command, click.Group):
            for part in sorted(command.commands):
                parts += one_command(f"notifyd {name} {part}", command.commands[part], "###")
    return "\n\n".join(part for part in parts if part)


def one_command(name: str, command: click.Command, level: str = "##") -> list[str]:
    """How a command is called, what it does, its options."""
    takes = [one.human_readable_name for one in arguments(command)]
    takes = [*takes, "COMMAND"] if isinstance(command, click.Group) else ["[OPTIONS]", *takes]
    usage = " ".join([name, *takes])
    parts = [f"{level} {name}", f"```text\n{usage}\n```", paragraphs(command.help)]
    if rows := [option_row(one) for one in command.params if isinstance(one, click.Option)]:
        parts.append(table(("option", "meaning", "default"), rows))
    return [*parts, paragraphs(command.epilog)]


def arguments(command: click.Command) -> list[click.Parameter]:
    """What a command takes besides options."""
    return [one for one in command.params if isinstance(one, click.Argument)]


def option_row(one: click.Option) -> tuple[str, str, str]:
    """How an option is given, what it means, and its default if it has one that matters."""
    names = ", ".join(f"`{name}`" for name in one.opts)
    value = one.metavar or ""
    if isinstance(one.type, click.Choice):
        value = " or ".join(map(str, one.type.choices))
    default = f"`{one.default}`" if one.show_default else ""
    return f"{names} {value}".strip(), one.help or "", default
