"""What the commands of `notifyd ctl` share: their options, asking, showing, completing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem

from notifyd.cli.control_client import connected, default_socket
from notifyd.daemon import protocol
from notifyd.daemon.approval_messages import GrantsRequest, PendingRequest
from notifyd.errors import UsageError
from notifyd.events.sanitize import printable

__all__ = [
    "ask",
    "complete_grants",
    "complete_questions",
    "complete_workloads",
    "print_lines",
    "reaching",
    "show",
]

F = TypeVar("F", bound=Callable[..., Any])

_COMPLETION_TIMEOUT_S = 1.0  # seconds that completing waits for the daemon
_PLAIN = re.compile(r"[\w./][\w./@%+~:-]*", re.ASCII)  # what no shell takes for anything else


def reaching(function: F) -> F:
    """The option of all that ask a daemon."""
    return click.option(
        "--socket",
        metavar="PATH",
        help="The daemon's control socket. Default: $NOTIFYD_CONTROL; or your own daemon's, "
        "$XDG_RUNTIME_DIR/notifyd/control.sock, if it is there; or /run/notifyd/control.sock.",
    )(function)


def ask(path: str | None, request: protocol.ControlRequest) -> Any:
    """The result of a request.

    Raises:
        UsageError: there is none.
    """
    with connected(path or default_socket(os.environ)) as connection:
        return connection.ask(request)


def show(result: Any, as_json: bool, lines: Callable[[Any], Iterable[str]]) -> None:
    """Print a result, as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(result), indent=2))
    else:
        print_lines(lines(result))


def print_lines(lines: Iterable[str]) -> None:
    """Print a table."""
    for line in lines:
        click.echo(line)


def complete_workloads(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The ids of those that are supervised now and begin so, as the daemon says."""
    found = _asked(ctx, protocol.WorkloadsRequest())
    return _items(((one.id, one.section) for one in found), incomplete)


def complete_questions(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The questions that wait."""
    return _items(((str(one.id), one.text) for one in _asked(ctx, PendingRequest())), incomplete)


def complete_grants(
    ctx: click.Context,
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """The answers that hold for longer."""
    return _items(((str(one.id), one.key) for one in _asked(ctx, GrantsRequest())), incomplete)


def _asked(ctx: click.Context, request: protocol.ControlRequest) -> Any:
    path = ctx.params.get("socket") or default_socket(os.environ)
    try:
        with connected(path, patience=_COMPLETION_TIMEOUT_S) as connection:
            return connection.ask(request)
    except UsageError:
        return []


def _items(found: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(word, help=printable(about, 60))
        for word, about in found
        if word.startswith(incomplete) and _PLAIN.fullmatch(word)
    ]
