"""`notifyd ctl`: asking a daemon over its control socket, and telling it what to do."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec

from notifyd.cli import ctl_approvals
from notifyd.cli.control_client import connected, default_socket
from notifyd.cli.ctl_options import ask, complete_workloads, print_lines, reaching, show
from notifyd.cli.options import Sentences, as_json
from notifyd.daemon import protocol
from notifyd.errors import UsageError

__all__ = ["command"]


@click.group(cls=Sentences)
def command() -> None:
    """Ask the daemon, and tell it what to do.

    Root, the daemon's own user and those whom its configuration names (`sockets.control.users`) may
    do both.

    \b
    notifyd ctl workloads
    notifyd ctl events --verdict deny
    notifyd ctl reload
    """  # noqa: D301 (click's mark is the character itself)


@command.command()
@reaching
@as_json
def status(socket: str | None, as_json: bool) -> None:
    """Say how the daemon is: what it serves, how much it has decided."""
    from notifyd.cli.control_tables import status_table

    show(ask(socket, protocol.StatusRequest()), as_json, status_table)


@command.command()
@reaching
@as_json
def workloads(socket: str | None, as_json: bool) -> None:
    """List the supervised workloads."""
    from notifyd.cli.control_tables import workloads_table

    show(ask(socket, protocol.WorkloadsRequest()), as_json, workloads_table)


@command.command()
@reaching
@as_json
def rules(socket: str | None, as_json: bool) -> None:
    """List which rules are for whom."""
    from notifyd.cli.control_tables import rules_table

    show(ask(socket, protocol.RulesRequest()), as_json, rules_table)


@command.command()
@reaching
@click.option(
    "--workload",
    default="",
    metavar="GLOB",
    shell_complete=complete_workloads,
    help="Only of these workloads.",
)
@click.option("--operation", default="", metavar="GLOB", help="Only calls of these operations.")
@click.option("--verdict", default="", metavar="GLOB", help="Only calls that got this verdict.")
@click.option("--event", default="", metavar="GLOB", help="Only events of this name.")
@as_json
def events(
    socket: str | None, workload: str, operation: str, verdict: str, event: str, as_json: bool
) -> None:
    """Show what happens, from now on, until Ctrl-C."""
    request = protocol.EventsRequest(
        workload=workload, operation=operation, verdict=verdict, event=event
    )
    show = _raw if as_json else _readable
    with connected(socket or default_socket(os.environ)) as connection:
        connection.ask(request)
        for piece in connection.pieces():
            show(piece)
    raise UsageError("the daemon has ended, or ended this: see its log")


@command.command()
@reaching
@as_json
def reload(socket: str | None, as_json: bool) -> None:
    """Reload the configuration and its rules, all or nothing."""
    from notifyd.cli.control_tables import reloaded

    show(ask(socket, protocol.ReloadRequest()), as_json, reloaded)


@command.command()
@reaching
@as_json
def rotate(socket: str | None, as_json: bool) -> None:
    """Begin a new audit file; the old one gets another name."""
    from notifyd.cli.control_tables import rotated

    show(ask(socket, protocol.RotateRequest()), as_json, rotated)


@command.command()
@click.argument("id", shell_complete=complete_workloads)
@reaching
@as_json
def detach(id: str, socket: str | None, as_json: bool) -> None:  # noqa: A002 (as it is called)
    """Let workload ID go: the calls that its filter reports fail from now on (ENOSYS)."""
    from notifyd.cli.control_tables import detached

    show(ask(socket, protocol.DetachRequest(id=id)), as_json, detached)


@command.command()
@click.argument("id", shell_complete=complete_workloads)
@reaching
@as_json
def kill(id: str, socket: str | None, as_json: bool) -> None:  # noqa: A002
    """Kill the first process of workload ID, and of everything executed into it."""
    from notifyd.cli.control_tables import killed

    show(ask(socket, protocol.KillRequest(id=id)), as_json, killed)


@command.command()
@reaching
def metrics(socket: str | None) -> None:
    """Print the counts as Prometheus reads them."""
    print_lines(ask(socket, protocol.MetricsRequest()).text.splitlines())


@command.command()
@reaching
@click.option("--end", is_flag=True, help="End your sessions instead; as root, everybody's.")
@as_json
def console(socket: str | None, end: bool, as_json: bool) -> None:
    """Print an address that opens the web console, logged in as you. It works once."""
    from notifyd.console.login import LoginReply, ask_console, login_socket

    def lines(told: LoginReply) -> list[str]:
        return [f"{told.ended} sessions ended" if end else told.url]

    path = login_socket(socket or default_socket(os.environ), os.environ, making=False)
    show(ask_console(path, "end" if end else "login"), as_json, lines)


for _command in ctl_approvals.APPROVAL_SUBCOMMANDS:
    command.add_command(_command)


def _raw(piece: bytes) -> None:
    click.echo(piece, nl=False)
    sys.stdout.flush()


def _readable(piece: bytes) -> None:
    from notifyd.cli.event_lines import event_line
    from notifyd.events.terminal import colorful

    color = colorful(sys.stdout)
    lines = []
    for line in piece.splitlines():
        try:
            lines.append(event_line(msgspec.json.decode(line, type=dict[str, Any]), color=color))
        except (msgspec.DecodeError, UnicodeDecodeError):
            lines.append(f"not an event: {line[:80]!r}")
    click.echo("\n".join(lines))
    sys.stdout.flush()
