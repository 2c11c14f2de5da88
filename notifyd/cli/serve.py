"""`notifyd serve`: the daemon that container runtimes and programs hand their listeners to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from notifyd.cli.columns import columns
from notifyd.cli.completion import complete_files
from notifyd.daemon.config import DEFAULT_CONFIG_PATH, Match, as_list
from notifyd.daemon.policies import Policies, load_policies
from notifyd.launch.ground import check_kernel, check_proc


@click.command()
@click.option(
    "-c",
    "--config",
    default=DEFAULT_CONFIG_PATH,
    show_default=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="The configuration.",
)
@click.option("--check", is_flag=True, help="Say whether the configuration is good, and leave.")
def command(config: str, check: bool) -> None:
    """Supervise whatever hands its listener over: containers, commands, plugins.

    The configuration has the sockets, and says which workloads get which rules. It is reloaded on
    SIGHUP, by `notifyd ctl reload`, and when one of its files changes; a mistake leaves the old one
    in force.

    \b
    notifyd serve --check
    notifyd serve --config ./notifyd.toml
    """  # noqa: D301 (click's mark is the character itself)
    check_proc()
    check_kernel()
    policies = load_policies(Path(config).absolute())
    if check:
        click.echo("\n".join(_summary(policies)))
        return
    from notifyd.daemon.serving import serve

    serve(policies)


def _summary(policies: Policies) -> Iterator[str]:
    """What a configuration says, for the person who wrote it."""
    yield f"{policies.path}: good"
    yield ""
    rows = [("workload", "rules", "for")]
    for policy in policies.sections:
        section = policy.section
        rows.append((section.name, ", ".join(section.rules), _in_words(section.match)))
    yield from columns(rows, "")


def _in_words(match: Match) -> str:
    said = []
    for name in ("arrival", "user", "id", "metadata", "cgroup"):
        wanted = as_list(getattr(match, name))
        if wanted:
            said.append(f"{name} {' or '.join(map(str, wanted))}")
    for key, globs in match.annotations.items():
        said.append(f"annotation {key} {' or '.join(as_list(globs))}")
    return ", ".join(said) or "everybody"
