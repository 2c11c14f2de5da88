"""The commands of `notifyd ctl` that are about questions, answers and grants."""

from __future__ import annotations

import os
from typing import Any

import click

from notifyd.approvals.question import MAX_ANSWER_MINUTES, MAX_REASON_CHARS
from notifyd.cli.ctl_options import (
    ask,
    complete_grants,
    complete_questions,
    complete_workloads,
    reaching,
    show,
)
from notifyd.cli.options import as_json
from notifyd.daemon import approval_messages as messages
from notifyd.errors import UsageError

__all__ = ["APPROVAL_SUBCOMMANDS"]

_SCOPES = click.Choice(["once", "process", "workload", "minutes", "always"])


def _answering(function: Any) -> Any:
    """What `approve` and `deny` take."""
    for one in (
        click.argument("id", type=click.IntRange(1), shell_complete=complete_questions),
        click.option(
            "--scope",
            type=_SCOPES,
            help="How long it holds: this once (the default), as long as the process or the "
            "workload lives, for some minutes, or always.",
        ),
        click.option(
            "--minutes",
            type=click.FloatRange(0, MAX_ANSWER_MINUTES, min_open=True),
            metavar="N",
            help="How many, for --scope minutes, which it implies.",
        ),
        click.option("--reason", default="", metavar="TEXT", help="Why, for the record."),
        reaching,
        as_json,
    ):
        function = one(function)
    return function


@click.command()
@reaching
@as_json
def pending(socket: str | None, as_json: bool) -> None:
    """List the questions that wait for a person."""
    from notifyd.cli.approval_tables import pending_table

    show(ask(socket, messages.PendingRequest()), as_json, pending_table)


@click.command()
@_answering
def approve(**given: Any) -> None:
    """Allow the call of question ID."""
    _answer(messages.ApproveRequest, **given)


@click.command()
@_answering
def deny(**given: Any) -> None:
    """Refuse the call of question ID."""
    _answer(messages.DenyRequest, **given)


def _answer(
    kind: type[messages.ApproveRequest | messages.DenyRequest],
    *,
    id: int,  # noqa: A002 (as it is called)
    scope: Any,
    minutes: float | None,
    reason: str,
    socket: str | None,
    as_json: bool,
) -> None:
    from notifyd.cli.approval_tables import answered

    if minutes is not None and scope not in (None, "minutes"):
        raise UsageError(f"--minutes is for --scope minutes, not {scope}: leave one out")
    if minutes is None and scope == "minutes":
        raise UsageError("--scope minutes needs to know how many: give --minutes N")
    if len(reason) > MAX_REASON_CHARS:
        raise UsageError(f"a reason of {len(reason)} characters: at most {MAX_REASON_CHARS}")
    chosen: Any = scope or ("once" if minutes is None else "minutes")
    request = kind(id=id, scope=chosen, minutes=minutes or 0.0, reason=reason)
    show(ask(socket, request), as_json, answered)


@click.command()
@reaching
@as_json
def watch(socket: str | None, as_json: bool) -> None:
    """Ask here, one question after the other, until q; with --json, print each as it comes.

    A line answers: y or n for once, or how long: process, run, 10m, always, never; `n: too late`
    gives a reason. skip leaves the question to others, q quits, ? tells what else there is.
    """
    from notifyd.cli.control_client import connected, default_socket
    from notifyd.cli.watching import print_questions, watch_questions

    path = socket or default_socket(os.environ)
    with connected(path) as connection:
        if as_json:
            print_questions(connection)
        else:
            watch_questions(connection, lambda request: ask(path, request))


_own = click.option(
    "--own",
    is_flag=True,
    help="Of what you decided at the terminal of `notifyd run`; no daemon is asked.",
)


@click.command()
@reaching
@_own
@as_json
def grants(socket: str | None, own: bool, as_json: bool) -> None:
    """List the answers that hold for longer than their workload."""
    from notifyd.cli.approval_tables import grants_table

    if own:
        from notifyd.cli.own_grants import own_grants

        show(own_grants(), as_json, grants_table)
    else:
        show(ask(socket, messages.GrantsRequest()), as_json, grants_table)


@click.command()
@click.argument("id", type=click.IntRange(1), shell_complete=complete_grants)
@reaching
@_own
@as_json
def revoke(id: int, socket: str | None, own: bool, as_json: bool) -> None:  # noqa: A002
    """Revoke grant ID: its calls are asked about again."""
    from notifyd.cli.approval_tables import revoked

    if own:
        from notifyd.cli.own_grants import revoke_own

        show(revoke_own(id), as_json, revoked)
    else:
        show(ask(socket, messages.RevokeRequest(id=id)), as_json, revoked)


@click.command()
@reaching
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many."
)
@click.option(
    "--workload",
    default="",
    metavar="GLOB",
    shell_complete=complete_workloads,
    help="Only of these workloads.",
)
@click.option("--rule", default="", metavar="GLOB", help="Only of these rules, `file.py:function`.")
@click.option("--operation", default="", metavar="GLOB", help="Only about these operations.")
@click.option("--exe", default="", metavar="GLOB", help="Only asked by these programs.")
@click.option("--by", default="", metavar="GLOB", help="Only answered by these people.")
@click.option("--state", default="", metavar="GLOB", help="Only these outcomes: granted, ...")
@as_json
def history(socket: str | None, limit: int, as_json: bool, **globs: Any) -> None:
    """List earlier questions and their outcomes, the latest first."""
    from notifyd.cli.approval_tables import history_table

    request = messages.HistoryRequest(limit=limit, **globs)
    show(ask(socket, request), as_json, history_table)


APPROVAL_SUBCOMMANDS = (pending, approve, deny, watch, grants, revoke, history)
