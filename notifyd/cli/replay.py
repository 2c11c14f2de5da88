"""`notifyd replay`: what other rules would have said to recorded calls."""

from __future__ import annotations

import os
import sys
import time
from contextlib import redirect_stdout
from typing import Any

import click
import msgspec

from notifyd.cli.completion import complete_files
from notifyd.cli.options import remaining, rules_and_options
from notifyd.cli.replay_lines import as_data, call_lines, lines_of
from notifyd.events.sanitize import json_line, printable
from notifyd.policy.load import load
from notifyd.policy.verdicts import Allow, Deny
from notifyd.replay.again import replay
from notifyd.replay.compare import ReplayedCall, ReplayStatus
from notifyd.replay.event import Event
from notifyd.replay.reading import ReadStatistics
from notifyd.replay.summary import Summary, SummaryRow, example, operation_of

DEFAULT_ERRNO = 1  # EPERM, as `notifyd run --otherwise deny` gives it
PROGRESS_INTERVAL_S = 0.2  # seconds between two words of progress


@click.command(
    epilog="Exit status: 0 if no call would get anything else; 1 if one would, or if a rule fails; "
    "2 for a usage error."
)
@rules_and_options(required=True, more="; they add up")
@remaining
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    metavar="ID",
    help="Only the calls of this one. May be given again.",
)
@click.option(
    "--all", "every", is_flag=True, help="Show every call that changes or cannot be told."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --all one object a line.")
@click.argument(
    "files", nargs=-1, required=True, metavar="AUDIT.jsonl...", shell_complete=complete_files
)
def command(
    rules: tuple[str, ...],
    options: dict[str, list[str]],
    otherwise: str,
    strict: bool,
    workloads: tuple[str, ...],
    every: bool,
    as_json: bool,
    files: tuple[str, ...],
) -> None:
    """Decide recorded calls again with other rules, and show what would change.

    The files are those of `--audit`, plain or gzip. Nothing is executed but the rules. What the
    record cannot answer, such as memory that was not recorded, is counted and never guessed.

    \b
    notifyd replay --rules ./stricter.py calls.jsonl
    notifyd replay --rules only-below --option allow=/srv --all calls.jsonl.1.gz calls.jsonl
    """  # noqa: D301 (click's mark is the character itself)
    shown = _Shown(every, as_json)
    progress = _Progress()
    with redirect_stdout(sys.stderr):  # what rules print is not what we say
        loaded = load(
            rules,
            options=options,
            otherwise=Deny(DEFAULT_ERRNO) if otherwise == "deny" else Allow(),
            strict=strict,
        )
        try:
            summary, lines = replay(
                loaded, files, heard=shown.heard, tick=progress.tick, workloads=workloads
            )
        finally:
            progress.end()
    shown.end(summary, lines)
    sys.exit(1 if summary.changed or summary.broken else 0)


class _Shown:
    """What is printed, call by call and at the end."""

    def __init__(self, every: bool, as_json: bool) -> None:
        self._every = every
        self._as_json = as_json
        self._out = sys.stdout

    def heard(self, event: Event, finding: ReplayedCall) -> None:
        """One call."""
        if not self._every or finding.kind not in (ReplayStatus.CHANGE, ReplayStatus.UNTOLD):
            return
        row = SummaryRow(
            operation_of(event),
            finding.kind,
            finding.before,
            finding.after,
            example(event, finding),
            1,
        )
        if self._as_json:
            data = row.as_data()
            del data["count"]
            self._print({"call": data})
        else:
            click.echo("\n".join(call_lines(row)), file=self._out)

    def end(self, summary: Summary, lines: ReadStatistics) -> None:
        """The whole."""
        if self._as_json:
            data = as_data(summary, lines)
            self._print({"summary": data} if self._every else data)
        else:
            click.echo("\n".join(lines_of(summary, lines)), file=self._out)

    def _print(self, data: Any) -> None:
        click.echo(json_line(msgspec.json.encode(data)), file=self._out)


class _Progress:
    """A line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + PROGRESS_INTERVAL_S

    def tick(self, summary: Summary, lines: ReadStatistics, path: str) -> None:
        """A line was read."""
        if not self._terminal or (now := time.monotonic()) < self._next:
            return
        self._next = now + PROGRESS_INTERVAL_S
        done = f"{summary.calls} calls, {summary.changed} would change; {lines.share:.0%} of"
        self._show(f"notifyd: {done} {printable(os.path.basename(path), 60)}")

    def end(self) -> None:
        """The line goes."""
        if self._terminal:
            self._show("")

    def _show(self, text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
