"""`notifyd audit`: reading the event log back, and seeing whether it is what was written."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from notifyd.cli.completion import complete_files
from notifyd.cli.options import Sentences, as_json
from notifyd.daemon.config import DEFAULT_CONFIG_PATH, Audit
from notifyd.daemon.config_file import read_config
from notifyd.errors import UsageError
from notifyd.events.findings import Report
from notifyd.events.reading import files_of, lines_of, logs_of
from notifyd.events.sanitize import printable
from notifyd.events.select import Selection, moment

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

EXIT_FINDINGS = 1  # exit status


def _configured(function: F) -> F:
    return click.option(
        "-c",
        "--config",
        default=DEFAULT_CONFIG_PATH,
        show_default=True,
        metavar="CONFIG",
        shell_complete=complete_files,
        help="The daemon's configuration, which names the log where no file is given.",
    )(function)


def _files(function: F) -> F:
    return click.argument("files", nargs=-1, metavar="[FILE]...", shell_complete=complete_files)(
        function
    )


@click.group(cls=Sentences)
def command() -> None:
    """Read the event log, and see whether it is what was written.

    Before each FILE the older ones are read that it was rotated to, packed or not.

    \b
    notifyd audit show --since 1h --verdict deny
    notifyd audit verify /var/log/notifyd/events.jsonl
    """  # noqa: D301 (click's mark is the character itself)


_GLOBS = {
    "workload": "Only of these workloads.",
    "operation": "Only calls of these operations.",
    "verdict": "Only calls that got this verdict.",
    "path": "Only what is about these paths.",
    "by": "Only what these people answered.",
    "rule": "Only calls that these rules decided.",
    "event": "Only events of this name.",
}


def _filters(function: F) -> F:
    for name, text in reversed(_GLOBS.items()):
        function = click.option(f"--{name}", default="", metavar="GLOB", help=text)(function)
    function = click.option("--until", metavar="TIME", help="None after this.")(function)
    return click.option(
        "--since", metavar="TIME", help="None before this: 30m, 12h, 7d, or 2026-10-05T12:00."
    )(function)


@command.command()
@_files
@_filters
@click.option(
    "--database", metavar="FILE", shell_complete=complete_files, help="Read this database instead."
)
@_configured
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are written.")
def show(
    files: tuple[str, ...],
    since: str | None,
    until: str | None,
    database: str | None,
    config: str,
    as_json: bool,
    **globs: str,
) -> None:
    """Show events, as a table; without FILE, those of the daemon's log."""
    from notifyd.cli.audit_table import TABLE_HEADER, table_line

    begin, end = moment(since) if since else "", moment(until) if until else ""
    selection = Selection(begin, end, **globs)
    if database is not None and files:
        raise UsageError("--database reads no FILE: leave one of them out")
    found = _events(_lines(files, database, config, selection))
    first = next(found, None)  # an unreadable file is reported before there is a heading
    if first is None and database is None:
        where = ", ".join(files) or f"the log of {config}"
        raise UsageError(f"no event of notifyd in {where}: name an audit file")
    if not as_json:
        click.echo(TABLE_HEADER)
    for line, event in chain([first] if first else [], found):
        if selection.fits(event):
            click.echo(line.rstrip(b"\n") if as_json else table_line(event))


@command.command()
@_files
@click.option(
    "--key",
    metavar="KEY",
    help="The public key, or the key file, that has to have signed every checkpoint. Default: "
    "FILE.key, if it can be read; or else any key.",
)
@click.option(
    "--open",
    "open_is_fine",
    is_flag=True,
    help="Accept a log without an end, such as a copy of one that is being written.",
)
@_configured
@as_json
def verify(
    files: tuple[str, ...], key: str | None, open_is_fine: bool, config: str, as_json: bool
) -> None:
    """Find what was changed in a log: records, their order, their number.

    Exit status 1 if anything is wrong.
    """
    from notifyd.events.verify import verify

    reports = []
    for base, parts in logs_of(files_of(files or (_log(config).path,))).items():
        public = _public(base, key, None if files else _log(config))
        report = verify(parts, key=public, open_is_fine=open_is_fine, progress=_progress())
        reports.append(report)
        if not as_json:
            click.echo("\n".join(_in_words(base, report, public)))
    good = all(report.is_good for report in reports)
    if as_json:
        logs = [dataclasses.asdict(report) for report in reports]
        click.echo(json.dumps({"good": good, "logs": logs}, indent=2))
    if not good:
        sys.exit(EXIT_FINDINGS)


@command.command()
@click.argument("file", required=False, shell_complete=complete_files)
@_configured
def key(file: str | None, config: str) -> None:
    """Print the public key of the key in FILE, or of the daemon's; a missing key is created."""
    from notifyd.events.signing import Signer

    click.echo(Signer.open(file or _log(config).key_path).public)


def _log(config: str) -> Audit:
    log = read_config(Path(config).absolute()).log
    if log is None:
        raise UsageError(f"{config} names no audit file: name one here")
    return log


def _public(base: str, given: str | None, log: Audit | None) -> str:
    """The public key that has to have signed; "" if that is not known."""
    from notifyd.events.signing import public_key

    if given is not None:
        return public_key(given)
    own = log.key_path if log is not None else f"{base}.key"
    return public_key(own) if os.access(own, os.R_OK) else ""


def _lines(
    files: tuple[str, ...], database: str | None, config: str, selection: Selection
) -> Iterator[bytes]:
    if database is not None:
        from notifyd.events.database import read_events

        yield from read_events(database, selection.since, selection.until)
        return
    for file in files_of(files or (_log(config).path,)):
        yield from lines_of(file)


def _events(lines: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in lines:
        try:
            yield line, msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # for `verify` to tell


def _progress() -> Callable[[int], object]:
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda count: click.echo(f"\r{count:,} records", nl=False, err=True)


def _in_words(base: str, report: Report, public: str) -> Iterator[str]:
    name = printable(base, 400)
    for finding in report.findings:
        yield printable(str(finding), 400)
    for note in report.notes:
        yield f"{name}: note: {printable(note, 400)}"
    if report.signed and not public:
        yield f"{name}: note: signed by {', '.join(report.keys)}, as it says itself: see --key"
    count = len(report.findings)
    result = "good" if not count else "1 finding" if count == 1 else f"{count} findings"
    yield (
        f"{name}: {result}: {report.records:,} records, {report.first:,} to {report.last:,}; "
        f"{report.signed} of {report.checkpoints} checkpoints signed"
    )
