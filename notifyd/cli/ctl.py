"""`notifyd ctl`: asking a daemon over its control socket, and telling it what to do."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem

from notifyd.cli.control_client import connected, default_socket
from notifyd.errors import UsageError
from notifyd.service import protocol

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

_SOON = 1.0  # seconds that completing waits for the daemon
_PLAIN = re.compile(r"[\w./][\w./@%+~:-]*", re.ASCII)  # what no shell takes for anything else


def _complete_workloads(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The ids of those that are supervised now and begin so, as the daemon says."""
    path = ctx.params.get("socket") or default_socket(os.environ)
    try:
        with connected(path, patience=_SOON) as connection:
            found = connection.ask(protocol.WorkloadsRequest())
    except UsageError:
        return []
    return [
        CompletionItem(one.id, help=one.section)
        for one in found
        if one.id.startswith(incomplete) and _PLAIN.fullmatch(one.id)
    ]


def _reaching(function: F) -> F:
    """The option of all that ask a daemon."""
    return click.option(
        "--socket",
        metavar="PATH",
        help="The daemon's control socket. Default: $NOTIFYD_CONTROL; or your own daemon's, "
        "$XDG_RUNTIME_DIR/notifyd/control.sock, if it is there; or /run/notifyd/control.sock.",
    )(function)


def _as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@click.group()
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
@_reaching
@_as_json
def status(socket: str | None, as_json: bool) -> None:
    """Say how the daemon is: what it serves, how much it has decided."""
    from notifyd.cli.control_tables import status_table

    _show(_ask(socket, protocol.StatusRequest()), as_json, status_table)


@command.command()
@_reaching
@_as_json
def workloads(socket: str | None, as_json: bool) -> None:
    """List who is supervised."""
    from notifyd.cli.control_tables import workloads_table

    _show(_ask(socket, protocol.WorkloadsRequest()), as_json, workloads_table)


@command.command()
@_reaching
@_as_json
def rules(socket: str | None, as_json: bool) -> None:
    """List which rules are for whom."""
    from notifyd.cli.control_tables import rules_table

    _show(_ask(socket, protocol.RulesRequest()), as_json, rules_table)


@command.command()
@_reaching
@click.option(
    "--workload",
    default="",
    metavar="GLOB",
    shell_complete=_complete_workloads,
    help="Only of these workloads.",
)
@click.option("--operation", default="", metavar="GLOB", help="Only calls of these operations.")
@click.option("--verdict", default="", metavar="GLOB", help="Only calls that got this verdict.")
@click.option("--event", default="", metavar="GLOB", help="Only events of this name.")
@_as_json
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
@_reaching
@_as_json
def reload(socket: str | None, as_json: bool) -> None:
    """Load the configuration and its rules anew: all of it, or nothing."""
    from notifyd.cli.control_tables import reloaded

    _show(_ask(socket, protocol.ReloadRequest()), as_json, reloaded)


@command.command()
@_reaching
@_as_json
def rotate(socket: str | None, as_json: bool) -> None:
    """Begin a new audit file; the old one gets another name."""
    from notifyd.cli.control_tables import rotated

    _show(_ask(socket, protocol.RotateRequest()), as_json, rotated)


@command.command()
@click.argument("id", shell_complete=_complete_workloads)
@_reaching
@_as_json
def detach(id: str, socket: str | None, as_json: bool) -> None:  # noqa: A002 (as it is called)
    """Let workload ID go: the calls that its filter reports fail from now on (ENOSYS)."""
    from notifyd.cli.control_tables import detached

    _show(_ask(socket, protocol.DetachRequest(id=id)), as_json, detached)


@command.command()
@click.argument("id", shell_complete=_complete_workloads)
@_reaching
@_as_json
def kill(id: str, socket: str | None, as_json: bool) -> None:  # noqa: A002
    """Kill the first process of workload ID, and of everything executed into it."""
    from notifyd.cli.control_tables import killed

    _show(_ask(socket, protocol.KillRequest(id=id)), as_json, killed)


@command.command()
@_reaching
def metrics(socket: str | None) -> None:
    """Print the counts as Prometheus reads them."""
    _print(_ask(socket, protocol.MetricsRequest()).text.splitlines())


def _ask(path: str | None, request: protocol.Request) -> Any:
    with connected(path or default_socket(os.environ)) as connection:
        return connection.ask(request)


def _show(result: Any, as_json: bool, lines: Callable[[Any], Iterable[str]]) -> None:
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(result), indent=2))
    else:
        _print(lines(result))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _raw(piece: bytes) -> None:
    click.echo(piece, nl=False)
    sys.stdout.flush()


def _readable(piece: bytes) -> None:
    from notifyd.cli.event_lines import event_line

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    lines = []
    for line in piece.splitlines():
        try:
            lines.append(event_line(msgspec.json.decode(line, type=dict[str, Any]), color=color))
        except msgspec.DecodeError:
            lines.append(f"not an event: {line[:80]!r}")
    click.echo("\n".join(lines))
    sys.stdout.flush()
