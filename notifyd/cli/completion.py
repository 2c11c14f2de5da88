"""`notifyd completion`: the script that teaches a shell notifyd's words, and the words."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

__all__ = ["command", "complete_bases", "complete_files", "complete_operations", "complete_rules"]

VARIABLE = "_NOTIFYD_COMPLETE"  # click asks for completions by it: the program's name in capitals


def complete_rules(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The shipped rules that begin so, and files."""
    from notifyd.policy.load import shipped, title

    found = [
        CompletionItem(name, help=title(path))
        for name, path in shipped().items()
        if name.startswith(incomplete)
    ]
    return [_files(incomplete), *found]


def complete_operations(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The operations that begin so, in whatever case."""
    from notifyd.policy.operations import OPERATIONS

    return [
        CompletionItem(name, help=operation.summary)
        for name, operation in OPERATIONS.items()
        if name.lower().startswith(incomplete.lower())
    ]


def complete_bases(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """What a profile can begin with."""
    found = [CompletionItem(name) for name in ("docker", "none") if name.startswith(incomplete)]
    return [_files(incomplete), *found]


def complete_files(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Files, by the shell itself."""
    return [_files(incomplete)]


def _files(incomplete: str) -> CompletionItem:
    """To stand before all others: click's script for bash forgets what it has at this one."""
    return CompletionItem(incomplete, type="file")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  notifyd completion bash > ~/.local/share/bash-completion/completions/notifyd
    zsh:   notifyd completion zsh > ~/.zfunc/_notifyd     (a directory of your fpath)
    fish:  notifyd completion fish > ~/.config/fish/completions/notifyd.fish
    """  # noqa: D301 (click's mark is the character itself)
    found = get_completion_class(shell)
    assert found is not None
    made = found(click.get_current_context().find_root().command, {}, "notifyd", VARIABLE)
    # Not made.source(): for bash that also starts a bash, to ask for its version.
    click.echo(made.source_template % made.source_vars())
