"""`notifyd console`: the daemon's questions, events and workloads in a browser."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from notifyd.cli.control_client import default_socket
from notifyd.errors import UsageError


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1:8470",
    show_default=True,
    metavar="ADDRESS",
    help="Where browsers find it: ADDRESS:PORT of the loopback, or unix:PATH.",
)
@click.option("--insecure-listen", is_flag=True, help="Allow --listen an address of the network.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name that browsers know it by, as behind a reverse proxy. May be given again.",
)
@click.option(
    "--socket",
    metavar="PATH",
    help="The daemon's control socket. Default: as for `notifyd ctl`.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="USER",
    help="Who may log in, besides root and you. What they may decide, the daemon says.",
)
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
def command(
    listen: str,
    insecure_listen: bool,
    hosts: tuple[str, ...],
    socket: str | None,
    users: tuple[str, ...],
    show: bool,
) -> None:
    """Show the daemon in a browser: questions to decide, live events, workloads.

    It speaks to the daemon as `notifyd ctl` does, as the user who runs it. The way in is
    `notifyd ctl console`, which prints an address that works once.

    \b
    notifyd console --open
    notifyd console --listen unix:/run/notifyd/web.sock
    """  # noqa: D301 (click's mark is the character itself)
    try:
        from notifyd.console.console import ConsoleSettings, serve_console
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the console needs {error.name}: pip install 'seccomp-notifyd[console]'"
        ) from error
    from notifyd.console.listening import ListenAddress
    from notifyd.console.login import login_socket
    from notifyd.launch.user import uid_of

    at = ListenAddress.parse(listen, insecure=insecure_listen)
    if not at.is_loopback:
        _say(f"warning: anyone between {listen} and you can read everything, and take the session")
    if show and at.path:
        raise UsageError("--open: a browser cannot open a unix socket: leave one of the two out")
    control = socket or default_socket(os.environ)
    settings = ConsoleSettings(
        at,
        control,
        login_socket(control, os.environ, making=True),
        _names(hosts),
        frozenset(uid_of(user) for user in users),
    )
    asking = "notifyd ctl console" + (f" --socket {shlex.quote(socket)}" if socket else "")
    with TemporaryDirectory(prefix="notifyd-") as folder:

        def ready(page: str, enter: Callable[[], str]) -> None:
            _say(f"at {page}; to log in, run `{asking}`")
            if show:
                open_page(enter(), Path(folder))

        serve_console(settings, _say, ready)


def _names(hosts: tuple[str, ...]) -> frozenset[str]:
    from notifyd.console.guard import is_host_name

    for name in hosts:
        if not is_host_name(name.lower()):
            raise UsageError(f"--host {name!r}: give the name alone, such as console.example.org")
    return frozenset(name.lower() for name in hosts)


def open_page(url: str, folder: Path) -> None:
    """Open an address that is a secret. Arguments of commands are none: everybody can read them.

    Args:
        url: the address.
        folder: private; has to stay until the browser has read the file in it.
    """
    page = folder / "console.html"
    page.touch(0o600)
    page.write_text(f'<meta http-equiv="refresh" content="0;url={escape(url)}">')
    click.launch(str(page))


def _say(text: str) -> None:
    click.echo(f"notifyd: {text}", err=True)
