"""The control protocol: one JSON object a line each way. Pure; docs/reference/control.md has it.

To add a command: its request, its result, its line in `CONTROL_COMMANDS`, and its line in
`control.COMMAND_HANDLERS`. The reference page, the checks and the client read the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from notifyd.daemon.approval_messages import (
    Answered,
    ApproveRequest,
    DecisionView,
    DenyRequest,
    GrantsRequest,
    GrantView,
    HistoryRequest,
    PendingRequest,
    QuestionsRequest,
    QuestionView,
    RevokeRequest,
)
from notifyd.daemon.request import CONTROL_PROTOCOL_VERSION, ControlRequest, Glob, Id
from notifyd.errors import PeerError, UsageError
from notifyd.events.sanitize import json_line, whole

__all__ = [
    "CONTROL_COMMANDS",
    "CONTROL_PROTOCOL_VERSION",
    "MAX_CONTROL_REQUEST_BYTES",
    "ControlCommand",
    "ControlRequest",
    "encode_error",
    "encode_result",
    "parse_reply",
    "parse_request",
]

MAX_CONTROL_REQUEST_BYTES = 1 << 16  # of a request with its newline


class StatusRequest(ControlRequest, frozen=True, tag="status"):
    """How the daemon is."""


class WorkloadsRequest(ControlRequest, frozen=True, tag="workloads"):
    """Who is supervised."""


class EventsRequest(ControlRequest, frozen=True, tag="events"):
    """What happens, from now on.

    Attributes:
        workload: a glob; "" is any, as for those below. What has no such field does not fit.
        operation: of calls.
        verdict: of calls.
        event: the event's name.
    """

    workload: Glob = ""
    operation: Glob = ""
    verdict: Glob = ""
    event: Glob = ""


class RulesRequest(ControlRequest, frozen=True, tag="rules"):
    """Which rules are for whom."""


class ReloadRequest(ControlRequest, frozen=True, tag="reload"):
    """Reload the configuration and its rules."""


class RotateRequest(ControlRequest, frozen=True, tag="rotate"):
    """Begin a new audit file."""


class DetachRequest(ControlRequest, frozen=True, kw_only=True, tag="detach"):
    """Let a workload go.

    Attributes:
        id: the workload's.
    """

    id: Id


class KillRequest(ControlRequest, frozen=True, kw_only=True, tag="kill"):
    """Kill the first process behind each listener of a workload.

    Attributes:
        id: the workload's.
    """

    id: Id


class MetricsRequest(ControlRequest, frozen=True, tag="metrics"):
    """The counts for Prometheus."""


class DaemonStatus(msgspec.Struct, frozen=True):
    """How the daemon is.

    Attributes:
        version: of notifyd.
        pid: of the daemon, in its own pid namespace.
        since: when it began, in seconds since 1970; so is `loaded`.
        config: the file of its configuration.
        loaded: when that came into force.
        sockets: their paths by name.
        audit: the event log; "" for none.
        workloads: how many are supervised.
        listeners: how many they have together.
        calls: answered since it began.
        refused: how many of them did not get what they asked for because of us.
        pending: calls that wait for their answers.
        rule_errors: how often a rule failed.
        arrivals_refused: connections that came to nothing, by how they came.
        followers: how many read the events.
    """

    version: str
    pid: int
    since: float
    config: str
    loaded: float
    sockets: dict[str, str]
    audit: str
    workloads: int
    listeners: int
    calls: int
    refused: int
    pending: int
    rule_errors: int
    arrivals_refused: dict[str, int]
    followers: int


class WorkloadView(msgspec.Struct, frozen=True):
    """Who is supervised.

    Attributes:
        id: what `detach` and `kill` take.
        arrival: how it came.
        section: of the configuration.
        peer: who brought it: name, pid and uid.
        pid: the first process; 0 where that is not known.
        since: seconds since 1970.
        listeners: how many it has.
        calls: answered.
        refused: how many of them did not get what they asked for because of us.
        pending: calls that wait for their answers.
        slowest_us: the longest that a call took, in microseconds.
        name: what it calls itself: several may have one name, and only one its id.
        bundle: the folder of its OCI bundle, or LXC's path of containers; "" for others.
    """

    id: str
    arrival: str
    section: str
    peer: str
    pid: int
    since: float
    listeners: int
    calls: int
    refused: int
    pending: int
    slowest_us: float
    name: str = ""
    bundle: str = ""


class SectionView(msgspec.Struct, frozen=True):
    """Which rules are for whom.

    Attributes:
        name: the section's.
        rules: as the configuration names them.
        files: the rule files.
        options: for the rules.
        kernel: the operations that the kernel decides itself.
        otherwise: the verdict where no rule has an opinion.
        strict: whether racy answers are refused.
        workloads: how many are supervised by it.
    """

    name: str
    rules: list[str]
    files: list[str]
    options: dict[str, list[str]]
    kernel: list[str]
    otherwise: str
    strict: bool
    workloads: int


class Following(msgspec.Struct, frozen=True):
    """Events follow, a line each; nothing else is asked on this connection.

    Attributes:
        keeps: bytes that are kept for a slow reader; what is beyond is lost, and counted in
            `audit.lost`.
    """

    keeps: int


class Reloaded(msgspec.Struct, frozen=True):
    """All of the new configuration is in force.

    Attributes:
        notes: what does not go as it says, a line each.
    """

    notes: list[str]


class Rotated(msgspec.Struct, frozen=True):
    """A new audit file is written.

    Attributes:
        path: its path; the older one has a number after it, or the name that it was given.
    """

    path: str


class Detached(msgspec.Struct, frozen=True):
    """Calls that the filter of a workload reports fail from now on (ENOSYS).

    Attributes:
        listeners: how many were closed.
    """

    listeners: int


class Killed(msgspec.Struct, frozen=True):
    """SIGKILL was sent.

    Attributes:
        processes: to how many.
    """

    processes: int


class Metrics(msgspec.Struct, frozen=True):
    """The counts for Prometheus.

    Attributes:
        text: in Prometheus' text format.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ControlCommand:
    """One thing that can be asked for.

    Attributes:
        request: the type of the request; its first line of documentation is the summary.
        result: the type of what comes back.
        changes: whether it changes anything: who may only read cannot ask for it.
        answers: whether it is about an answer to a question: approvers may ask for it, too.
    """

    request: type[ControlRequest]
    result: Any
    changes: bool = False
    answers: bool = False


CONTROL_COMMANDS: Mapping[str, ControlCommand] = MappingProxyType(
    {
        "status": ControlCommand(StatusRequest, DaemonStatus),
        "workloads": ControlCommand(WorkloadsRequest, list[WorkloadView]),
        "events": ControlCommand(EventsRequest, Following),
        "rules": ControlCommand(RulesRequest, list[SectionView]),
        "reload": ControlCommand(ReloadRequest, Reloaded, changes=True),
        "rotate": ControlCommand(RotateRequest, Rotated, changes=True),
        "detach": ControlCommand(DetachRequest, Detached, changes=True),
        "kill": ControlCommand(KillRequest, Killed, changes=True),
        "metrics": ControlCommand(MetricsRequest, Metrics),
        "pending": ControlCommand(PendingRequest, list[QuestionView]),
        "questions": ControlCommand(QuestionsRequest, list[QuestionView]),
        "approve": ControlCommand(ApproveRequest, Answered, changes=True, answers=True),
        "deny": ControlCommand(DenyRequest, Answered, changes=True, answers=True),
        "grants": ControlCommand(GrantsRequest, list[GrantView]),
        "revoke": ControlCommand(RevokeRequest, GrantView, changes=True, answers=True),
        "history": ControlCommand(HistoryRequest, list[DecisionView]),
    }
)


class _Head(msgspec.Struct):
    """As much of a request as tells whether the rest of it can be understood."""

    notifyd: int
    command: str


def parse_request(line: bytes) -> ControlRequest:
    """Read a request.

    Raises:
        PeerError: it is not a request; the text may be sent to its sender.
    """
    head = _decoded(line, _Head)
    if head.notifyd != CONTROL_PROTOCOL_VERSION:
        raise PeerError(
            f"version {head.notifyd} of the protocol; this daemon speaks {CONTROL_PROTOCOL_VERSION}"
        )
    command = CONTROL_COMMANDS.get(head.command)
    if command is None:
        raise PeerError(
            f"unknown command {head.command[:40]!r}: say one of {', '.join(CONTROL_COMMANDS)}"
        )
    request: ControlRequest = _decoded(line, command.request)
    return request


def command_of(request: ControlRequest) -> str:
    """The name of a request's command."""
    return str(request.__struct_config__.tag)


def encode_result(result: Any) -> bytes:
    """The line that answers a request."""
    return (
        json_line(msgspec.json.encode({"notifyd": CONTROL_PROTOCOL_VERSION, "result": result}))
        + b"\n"
    )


def encode_error(text: str) -> bytes:
    """The line that says why there is no result, and what to do."""
    return (
        json_line(msgspec.json.encode({"notifyd": CONTROL_PROTOCOL_VERSION, "error": whole(text)}))
        + b"\n"
    )


def encode_request(request: ControlRequest) -> bytes:
    """The line of a request."""
    return msgspec.json.encode(request) + b"\n"


class _Reply(msgspec.Struct):
    notifyd: int
    error: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")


def parse_reply(line: bytes, command: str) -> Any:
    """Read the answer to a request: its result.

    Raises:
        UsageError: the daemon refuses; with its words.
        PeerError: this is not an answer.
    """
    reply = _decoded(line, _Reply)
    if reply.error:
        raise UsageError(reply.error)
    if reply.notifyd != CONTROL_PROTOCOL_VERSION or not bytes(reply.result):
        raise PeerError(
            f"a reply of version {reply.notifyd} of the protocol, not {CONTROL_PROTOCOL_VERSION}"
        )
    return _decoded(bytes(reply.result), CONTROL_COMMANDS[command].result)


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"not understood: {error}") from error
