"""The catalogue of events: what each one means, its fields, and how it reads as a sentence.

The reference page, the terminal and the tests read this one table. To add an event, add an entry
here; whatever emits it needs nothing else. It knows no sink.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from notifyd.events.approval_events import APPROVALS, CONTROL
from notifyd.events.event_kind import EventKind
from notifyd.events.sanitize import printable, to_json
from notifyd.policy.verdicts import VERDICTS

__all__ = ["COMMON", "EVENTS", "EventKind", "docs_rows", "sentence", "undeclared"]


COMMON: Mapping[str, str] = MappingProxyType(
    {
        "event": "the name of the event; always the first field",
        "time": "RFC 3339, UTC, with microseconds and `Z`; of a call, when it was received",
        "level": "`info`, `warning` or `error`; a call has none",
        "workload": "the id of the workload that it is about",
        "redacted": "the fields that are hidden: each has `[redacted]` instead",
        "seq": "in an audit file: the number of the record there",
        "chain": "in an audit file: SHA-256 over what came before it and itself",
    }
)

_CALL = {
    "pid": "the process, in the supervisor's pid namespace",
    "tid": "the thread that called",
    "exe": "the file that it executes, as the kernel names it",
    "uid": "its effective user id, in the supervisor's user namespace",
    "process": "`PID@START`, the start in clock ticks since boot: no pid reuse can forge it",
    "operation": "the meaning that sibling system calls share, as `Open`",
    "syscall": "the system call, as `openat`",
    "arch": "whose entry was used: `x86_64`, `i386` or `aarch64`",
    "args": "the arguments that were decoded: flags by name, paths and addresses as text",
    "verdict": ", ".join(f"`{verdict.kind}`" for verdict in VERDICTS),
    "how": "`continued` by the kernel, `performed` by notifyd, `verified` (executed by the kernel, "
    "and compared with what the rule saw), `answered`, or the target `gone`",
    "errno": "what the target got, by name; `E524` where the number has none",
    "value": "what the call returned, where notifyd knows",
    "rule": "`file.py:function` of the rule that decided",
    "reason": "why, where there is a why",
    "racy": "true if the kernel read memory again that a rule had read",
    "took_us": "microseconds from receiving to answering, without waiting for a person",
    "waited_s": "seconds that it waited for a person",
    "approval": "the id of the question that the person was asked",
    "cause": "where no rule wanted the refusal: the supervisor `ended`, the audit file was full "
    "(`held`), the path kept `moving`, what a rule allowed was `undone`, too many calls waited "
    "(`crowded`), notifyd ran `short` of threads, processes, descriptors or memory, or "
    "it was a `fault` of notifyd",
}

EVENTS: Mapping[str, EventKind] = MappingProxyType(
    {
        "call": EventKind("A call was answered.", MappingProxyType(_CALL)),
        "workload.started": EventKind(
            "A command, or whatever else is behind a listener, is under supervision.",
            {
                "pid": "its first process",
                "arrival": "how the listener came: `oci`, `lxc`, `native`; nothing for a command "
                "that was started here",
                "peer": "who brought the listener: name, pid and uid",
                "section": "the section of the configuration that is for it",
                "bundle": "the folder of its OCI bundle, or LXC's path of containers, which tells "
                "apart those of one name",
                "metadata": "`listenerMetadata` of its profile, or the cookie of LXC",
                "annotations": "of the container",
                "command": "the command and its arguments",
                "user": "the user that it was given, if not ours",
                "rules": "the rule files that decide, in their order",
                "otherwise": "the verdict when no rule has an opinion",
                "strict": "whether racy answers are refused",
            },
            "{workload}: started, pid {pid}, with {rules}",
        ),
        "workload.joined": EventKind(
            "Another process was executed into a container, and is decided with it.",
            {
                "pid": "the process",
                "peer": "who brought its listener",
                "metadata": "`listenerMetadata` of its profile",
            },
            "{workload}: joined by pid {pid}",
        ),
        "workload.restored": EventKind(
            "The daemon was restarted and has a listener of its predecessor.",
            {"waiting": "how many calls were in progress; they are decided again"},
            "{workload}: restored, with {waiting} calls that wait",
        ),
        "workload.shared": EventKind(
            "Another process takes notifications from a listener that was handed over: closed.",
            {"held_s": "for how many seconds that held everybody up, at most"},
            "{workload}: another process reads its listener, too: closed",
        ),
        "workload.unheard": EventKind(
            "The rules are about calls that the workload's filter does not report: they cannot be "
            "decided. A filter cannot be changed once it is installed.",
            {
                "section": "the section whose rules they are",
                "syscalls": "the system calls, by name",
            },
            "{workload}: its filter does not report {syscalls}, which the rules of {section} are "
            "about; restart it with a profile of `notifyd profile`",
        ),
        "arrival.refused": EventKind(
            "A listener, or a connection, came to nothing.",
            {
                "arrival": "where it came: `oci`, `lxc`, `native`, `control`",
                "peer": "who brought it: name, pid and uid",
                "reason": "why",
            },
            "{arrival}: refused {peer}: {reason}",
        ),
        "arrivals.refused": EventKind(
            "More of them than are worth a line each.",
            {
                "uid": "the user who brought them",
                "count": "how many more",
                "period_s": "within how many seconds",
            },
            "refused {count} more connections of uid {uid}",
        ),
        "control.command": EventKind(
            "A user changed something over the control socket.",
            {"peer": "who: name, pid and uid", **CONTROL},
            "control: {command} by {peer}",
        ),
        "control.refused": EventKind(
            "A user wanted to change something over the control socket, and it failed.",
            {
                "peer": "who: name, pid and uid",
                **CONTROL,
                "reason": "why",
            },
            "control: no {command} for {peer}: {reason}",
        ),
        "workload.ended": EventKind(
            "Nothing is left behind a listener.",
            {
                "status": "the exit status as a shell shows it: 128 + n for signal n",
                "calls": "how many calls were answered",
                "refused": "how many of them were refused",
                "lasted_s": "seconds from start to end",
            },
            "{workload}: ended after {calls} calls, {refused} refused",
        ),
        "workload.failed": EventKind(
            "The command could not be started.",
            {"command": "the command", "error": "what was in the way", "status": "our exit status"},
            "{workload}: cannot start {command}: {error}",
        ),
        "rules.loaded": EventKind(
            "A rule set is in force.",
            {
                "section": "the section of the configuration that it is for",
                "rules": "its files in their order",
                "count": "how many rules they declare",
                "kernel": "the operations that the kernel decides itself",
                "why": "what made the daemon reload it",
            },
            "{section}: loaded {rules}",
        ),
        "rules.rejected": EventKind(
            "A new configuration is wrong; the old one stays in force.",
            {"reason": "one mistake, with file and line", "why": "what made the daemon load it"},
            "not loaded ({why}): {reason}",
        ),
        "reload.note": EventKind(
            "The new configuration is in force, but not all of it.",
            {"reason": "what is not, and why"},
            "{reason}",
        ),
        "service.ready": EventKind(
            "The daemon takes arrivals.",
            {
                "config": "the file of its configuration",
                "sockets": "their paths by name",
                "sections": "the sections of the configuration, in their order",
            },
            "ready: {sections} by {config}",
        ),
        "service.stopping": EventKind(
            "The daemon ends; calls that filters report fail from now on (ENOSYS).",
            {"signal": "what ended it"},
            "stopping: {signal}",
        ),
        "socket.refused": EventKind(
            "A descriptor that systemd gave is not used.",
            {"reason": "which, and why"},
            "{reason}",
        ),
        "filter.installed": EventKind(
            "The program is in the kernel.",
            {
                "instructions": "its length; the kernel takes 4096",
                "listens": "whether any call can leave the kernel",
            },
            "{workload}: filter of {instructions} instructions installed",
        ),
        "filter.widened": EventKind(
            "The program notifies of more calls than the rules ask for; slower, not freer.",
            {"reason": "which call, and what the program could not express"},
            "{workload}: the filter notifies of more than asked for: {reason}",
        ),
        "supervisor.error": EventKind(
            "notifyd itself is wrong; please report it with the traceback.",
            {"error": "the error in one line", "traceback": "where it was raised"},
            "error in notifyd: {error}",
        ),
        "exec.mismatch": EventKind(
            "What was about to run was not what the rule saw; it was killed before its first "
            "instruction.",
            {
                "pid": "the process, in the supervisor's pid namespace",
                "process": "`PID@START`",
                "rule": "`file.py:function` of the rule that allowed the call",
                "path": "the path that the rule saw",
                "about": "what differed: `file`, `interpreter`, `sha256`, `argv` or `envp`; "
                "nothing where it could not be compared",
                "expected": "what the rule saw of it; of arguments, from the first that differed",
                "found": "what was about to run",
                "reason": "why it could not be compared",
            },
            "{workload}: killed {pid}: the {about} of {path} was {found}, not {expected}",
        ),
        **APPROVALS,
        "audit.begun": EventKind(
            "A writer begins in an audit file.",
            {
                "why": "`start` of a log, `restart` in a file with records, or `rotation`",
                "continues": "`chain` of the record that it follows",
                "file": "the file in which that is, if it has moved there",
                "torn": "how many bytes a crash has left of the record before; it does not count",
                "torn_sha256": "SHA-256 of them",
            },
            "the audit file begins: {why}",
        ),
        "audit.checkpoint": EventKind(
            "All records up to here are signed; the last record of an audit file is one, too.",
            {
                "ends": "why nothing comes after it in the file: `stop` or `rotation`",
                "key": "the public key, Ed25519, in hexadecimal digits",
                "signature": "by that key, in base64; without it, the record only marks the end",
            },
            "checkpoint of the audit file",
        ),
        "audit.full": EventKind(
            "The disk was full; this stands where records can be written again.",
            {
                "lines": "how many events are lost",
                "error": "what the kernel said, by name",
                "lasted_s": "seconds from the first refusal to this",
            },
            "the audit file was full for {lasted_s} s ({error}); {lines} events are lost",
        ),
        "audit.lost": EventKind(
            "Events that should stand here could not be written.",
            {
                "lines": "how many",
                "error": "what the kernel said, by name; `ENOBUFS` for a reader, a journal or a "
                "database that is slow",
            },
            "{lines} audit events are lost ({error})",
        ),
    }
)


def docs_rows() -> Iterator[tuple[str, str, str, str]]:
    """The catalogue as rows (event, summary, field, meaning), common fields first as event `""`."""
    for name, meaning in COMMON.items():
        yield "", "every event", name, meaning
    for event, kind in EVENTS.items():
        for name, meaning in kind.fields.items():
            yield event, kind.summary, name, meaning


def undeclared(event: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that the catalogue does not have for `event`, or `event` itself. For tests."""
    kind = EVENTS.get(event)
    if kind is None:
        return (event,)
    return tuple(name for name in fields if name not in kind.fields and name not in COMMON)


_WHOSE = re.compile(r"^\{(\w+)\}: ")


def sentence(event: str, fields: Mapping[str, Any]) -> str:
    """One harmless line for a person: the catalogue's sentence, or the name and its fields."""
    shown = {name: _shown(value) for name, value in fields.items() if value is not None}
    kind = EVENTS.get(event)
    if kind is not None and kind.says:
        says = _WHOSE.sub(lambda whose: whose[0] if whose[1] in shown else "", kind.says)
        return says.format_map(_OrQuestion(shown))
    parts = [printable(event, 400), *(f"{name}={text}" for name, text in shown.items())]
    return " ".join(parts)


class _OrQuestion(dict[str, str]):
    """A sentence is better with a gap than not said."""

    def __missing__(self, key: str) -> str:
        return "?"


def _shown(value: Any) -> str:
    plain = to_json(value)
    if isinstance(plain, list):
        plain = " ".join(map(str, plain))
    return printable(str(plain))
