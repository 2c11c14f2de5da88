"""`notifyd run`: a command behind rules, from the words of the command line to its exit status."""

from __future__ import annotations

import sys

import click
from click.core import ParameterSource

from notifyd.cli import complain
from notifyd.cli.completion import complete_files
from notifyd.cli.options import remaining, rules_and_options
from notifyd.cli.session import RunSettings, run
from notifyd.errors import UsageError


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="Exit status: the command's; 128+n for signal n; 2 for a usage error; 126 and 127 "
    "for a command that cannot be executed or found.",
)
@rules_and_options(required=False, more="; they add up")
@remaining
@click.option("--user", metavar="USER", help="Run the command as NAME, UID or UID:GID. Root only.")
@click.option(
    "--audit",
    type=click.Path(),
    metavar="FILE",
    help="Append an event for every call that left the kernel, as JSON lines.",
)
@click.option(
    "--audit-key",
    type=click.Path(),
    metavar="FILE",
    help="Sign checkpoints of the audit file with the key in FILE; a missing key is created.",
)
@click.option(
    "--service",
    metavar="SOCKET",
    is_flag=False,
    flag_value="",
    help="Let a daemon supervise, by its own configuration; where it is, if not where it is "
    "expected. Write --service=SOCKET, or a -- before COMMAND.",
)
@click.option("--section", metavar="NAME", help="With --service: the section of that to be under.")
@click.option(
    "--pty",
    is_flag=True,
    help="Give the command a terminal of its own, behind the one that notifyd is at. Where a rule "
    "may ask, it has one anyway.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="COMMAND...",
    type=click.UNPROCESSED,
    shell_complete=complete_files,
)
def command(
    rules: tuple[str, ...],
    options: dict[str, list[str]],
    otherwise: str,
    strict: bool,
    user: str | None,
    audit: str | None,
    audit_key: str | None,
    service: str | None,
    section: str | None,
    pty: bool,
    quiet: bool,
    words: tuple[str, ...],
) -> None:
    """Run COMMAND and everything it starts under rules.

    The rules decide the system calls that they name; all others are not affected. Refused calls
    are shown as they happen, and a table at the end tells what was decided how often.

    \b
    notifyd run --rules no-network -- python3 plugin.py
    notifyd run --rules connect-allowlist --option to=192.0.2.7:443 -- ./tool
    notifyd run --rules ./mine.py --audit calls.jsonl -- make
    notifyd run --service -- ./tool
    """  # noqa: D301 (click's mark is the character itself)
    if service is not None:
        from notifyd.cli.remote import run_at_service

        chosen = click.get_current_context().get_parameter_source("otherwise")
        other = {
            "--rules": rules,
            "--option": options,
            "--otherwise": chosen is not ParameterSource.DEFAULT,
            "--strict": strict,
            "--audit": audit,
            "--audit-key": audit_key,
            "--pty": pty,
        }
        sys.exit(run_at_service(service, section or "", user, words, other, complain))
    if section is not None:
        raise UsageError("--section is a daemon's: give --service too, or leave it out")
    if audit_key is not None and audit is None:
        raise UsageError("--audit-key signs what --audit writes: give that too, or leave it out")
    if not rules:
        raise UsageError(
            "no rules, so nothing would be decided: give --rules NAME or FILE (`notifyd rules` "
            "lists names), or --service"
        )
    settings = RunSettings(
        rules, options, otherwise, strict, user, audit, quiet, words, audit_key, pty
    )
    sys.exit(run(settings, complain))
