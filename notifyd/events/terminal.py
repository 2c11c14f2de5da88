"""Refused calls on a terminal, as they happen. Owns the limit on lines; knows no file format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TextIO, TypeAlias

from notifyd.events.counters import is_refusal
from notifyd.events.errnos import errno_name
from notifyd.events.log import RED, RESET
from notifyd.events.record import CallRecord
from notifyd.events.sanitize import printable, to_json

__all__ = ["MAX_SHOWN_KINDS", "Failures", "Refusals", "colorful", "describe"]

MAX_SHOWN_KINDS = 20  # different lines; more would bury what the command itself writes

# What a person wants to read of a call, the first that is there.
_MAIN = ("path", "oldpath", "linkpath", "address", "addresses", "pathname", "oldpathname")

_Key: TypeAlias = tuple[str | None, str, str, int, bytes]


def colorful(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal that has some, unless $NO_COLOR is set.

    Source: https://no-color.org/
    """
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not unwanted


def describe(record: CallRecord) -> str:
    """A refused call in one harmless line.

    As `refused connect 192.0.2.1:80 (EACCES) by connect_allowlist.py:connect, curl[4711]`.
    """
    parts = [_verb(record), printable(record.syscall, 40), main_argument(record.args)]
    if record.errno and record.verdict != "kill":
        parts.append(f"({errno_name(record.errno)})")
    if record.rule:
        parts.append(f"by {printable(record.rule, 80)}")
    line = f"{' '.join(part for part in parts if part)}, {_who(record)}"
    # Of a traceback the last line, which says what was wrong and where.
    why = str(to_json(record.reason)).strip().rpartition("\n")[2] if record.reason else ""
    return f"{line}: {printable(why)}" if why else line


def main_argument(args: Mapping[str, Any] | None) -> str:
    """The path or address of a call, or else its first argument with its name; harmless."""
    name, value = _main(args)
    if value is None:
        return ""
    return _shown(value) if name in _MAIN else f"{printable(name, 40)}={_shown(value)}"


class Refusals:
    """Shows refused, killed and failed calls, each kind once, at most `MAX_SHOWN_KINDS` kinds.

    Two calls are of one kind when rule, operation, main argument, errno and executable agree.

    Args:
        stream: a text stream, usually standard error. If it breaks, nothing is shown any more.
        color: whether the verb is red.
    """

    def __init__(self, stream: TextIO, *, color: bool = False) -> None:
        self._say = _Screen(stream).say
        self._color = color
        self._seen: dict[_Key, tuple[str, int]] = {}  # the line, and how often
        self._further = 0

    def add(self, record: CallRecord) -> None:
        """Show a call if it is a refusal that was not shown before."""
        if not is_refusal(record.verdict, record.how, record.errno != 0):
            return
        key = _key(record)
        seen = self._seen.get(key)
        if seen is not None:
            self._seen[key] = seen[0], seen[1] + 1
        elif len(self._seen) < MAX_SHOWN_KINDS:
            line = describe(record)
            self._seen[key] = line, 1
            self._say(self._colored(line))
        else:
            self._further += 1
            if self._further == 1:
                self._say("further refusals are only counted")

    def summary(self) -> list[str]:
        """For the end of a run: a line for each kind that came more than once, and for the rest."""
        lines = [f"{count} times: {line}" for line, count in self._seen.values() if count > 1]
        if self._further:
            lines.append(f"{self._further} further refusals were not shown")
        return lines

    def _colored(self, line: str) -> str:
        verb, space, rest = line.partition(" ")
        return f"{RED}{verb}{RESET}{space}{rest}" if self._color else line


class Failures:
    """Shows rules that fail, each rule's kind of error once, at most `MAX_SHOWN_KINDS`.

    For `--quiet`.

    Args:
        stream: as of `Refusals`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._say = _Screen(stream).say
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}  # the line, and how often

    def add(self, rule: str, why: str) -> None:
        """Show a failure if none of its kind was shown before; count it."""
        last = why.strip().rpartition("\n")[2]  # what and where; a traceback is above it
        kind = rule, *last.split(": ")[:2]
        if kind in self._seen:
            line, count = self._seen[kind]
            self._seen[kind] = line, count + 1
        elif len(self._seen) < MAX_SHOWN_KINDS:
            line = f"{printable(rule, 80)} failed: {printable(last)}"
            self._seen[kind] = line, 1
            self._say(line)

    def end(self) -> None:
        """Say how often each came that came more than once."""
        for line, count in self._seen.values():
            if count > 1:
                self._say(f"{count} times: {line}")


class _Screen:
    """A stream for lines; if it breaks, nothing is shown any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def say(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"notifyd: {text}\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or its stream closed
            self._stream = None


def _verb(record: CallRecord) -> str:
    if record.verdict == "kill":
        return "killed at"
    return "refused" if record.verdict in ("deny", "ask") else "failed"


def _who(record: CallRecord) -> str:
    if record.identity is None:
        return f"thread {record.tid}"
    name = record.identity.exe.rpartition(b"/")[2].decode("utf-8", "backslashreplace")
    return f"{printable(name, 40) or '?'}[{record.identity.pid}]"


def _key(record: CallRecord) -> _Key:
    exe = b"" if record.identity is None else record.identity.exe
    value = _main(record.args)[1]
    main = value if isinstance(value, str) else str(value)
    return record.rule, record.operation, main, record.errno, exe


def _main(args: Mapping[str, Any] | None) -> tuple[str, Any]:
    if args:
        for name in _MAIN:
            if _is_told(args.get(name)):
                return name, args[name]
        for name, value in args.items():
            if _is_told(value):
                return name, value
    return "", None


def _is_told(value: Any) -> bool:
    """Whether there is anything: messages on a connected socket have no address, one by one."""
    return any(one is not None for one in value) if isinstance(value, list) else value is not None


def _shown(value: Any) -> str:
    plain = to_json(value)
    return printable(" ".join(map(str, plain)) if isinstance(plain, list) else str(plain))
