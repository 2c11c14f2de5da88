"""`notifyd profile`: the seccomp profile of a container that reports to notifyd."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from notifyd.bpf.oci.profile import FLAGS, write
from notifyd.cli import complain
from notifyd.cli.completion import complete_bases
from notifyd.cli.options import rules_and_options
from notifyd.container.base import find_base
from notifyd.container.compose import (
    COMPOSED_RUNTIMES,
    DEFAULT_LISTENER_PATH,
    ListenerTarget,
    compose,
)
from notifyd.errors import UsageError


@click.command(epilog="Exit status: 0; 2 for a usage error, with nothing written.")
@rules_and_options(required=True)
@click.option(
    "--base",
    default="docker",
    show_default=True,
    metavar="FILE|docker|none",
    shell_complete=complete_bases,
    help="The profile to begin with: a file, the engines' default, or one that allows everything.",
)
@click.option(
    "--cap",
    "caps",
    multiple=True,
    metavar="NAME",
    help="A capability that the containers get beside the usual ones: the base may allow more.",
)
@click.option(
    "--listener",
    default=DEFAULT_LISTENER_PATH,
    show_default=True,
    metavar="PATH",
    help="The socket that the runtime hands the listener to.",
)
@click.option("--metadata", default="", metavar="TEXT", help="A text that goes with the listener.")
@click.option(
    "--flag",
    "flags",
    multiple=True,
    type=click.Choice(FLAGS),
    help="A flag for the kernel. runc 1.1 refuses all of them, runc before 1.5 the last one.",
)
@click.option(
    "--runtime",
    type=click.Choice(COMPOSED_RUNTIMES),
    default="runc",
    show_default=True,
    help="Whose own calls to leave alone.",
)
@click.option("--output", metavar="FILE", type=click.Path(), help="Write there, not to the screen.")
def command(
    rules: tuple[str, ...],
    options: dict[str, list[str]],
    base: str,
    caps: tuple[str, ...],
    listener: str,
    metadata: str,
    flags: tuple[str, ...],
    runtime: str,
    output: str | None,
) -> None:
    """Write the seccomp profile of containers whose calls notifyd decides.

    The calls that rules are about are taken out of the base: the kernel refuses those that rules
    always refuse, and reports those that rules decide. A message names what a profile cannot say.

    \b
    notifyd profile --rules harmless-devices --output devices.json
    docker run --security-opt seccomp=devices.json debian
    podman run --security-opt seccomp=devices.json debian
    """  # noqa: D301 (click's mark is the character itself)
    if not listener.startswith("/"):
        raise UsageError(f"--listener {listener}: give an absolute path")
    if len(listener.encode()) > MAX_LISTENER_PATH_BYTES:
        raise UsageError(
            f"--listener {listener}: more than {MAX_LISTENER_PATH_BYTES} bytes; unix(7)"
        )
    found, place = find_base(base, caps)
    to = ListenerTarget(listener, metadata, flags, runtime)
    with redirect_stdout(sys.stderr):  # output of rules does not belong to the profile
        made = compose(rules, options, found, place, to)
    for note in made.notes:
        complain(note)
    _write(write(made.seccomp), output)


MAX_LISTENER_PATH_BYTES = 107  # bytes: sun_path has 108, and ends with a NUL


def _write(text: bytes, output: str | None) -> None:
    if output is None:
        sys.stdout.buffer.write(text)
        return
    try:
        Path(output).write_bytes(text)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}: give another path") from error
