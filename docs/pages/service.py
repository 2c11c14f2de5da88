"""The daemon: its configuration, its control socket, its metrics."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import msgspec

from notifyd.daemon import protocol
from notifyd.daemon.config import (
    Approvals,
    Audit,
    Config,
    Match,
    Section,
    SocketConfig,
    WebhookConfig,
)
from notifyd.daemon.line_reader import CONNECTION_IDLE_TIMEOUT_S
from notifyd.daemon.metrics import BOUNDS, MAX_WORKLOAD_SERIES, METRICS
from notifyd.intake.reception import MESSAGE_TIMEOUT_S
from pages.markdown import paragraphs, table


def configuration() -> str:
    """The keys of the daemon's configuration, from its types and what they say of themselves."""
    parts = [
        "# Configuration",
        "`/etc/notifyd/notifyd.toml`, or another by `notifyd serve --config FILE`. It is TOML. "
        "[Run the daemon](../how-to/run-the-daemon.md) shows one; `systemd/notifyd.toml` is "
        "another, with comments. An unknown key is an error.",
    ]
    for heading, kind in (
        ("The file", Config),
        ("[sockets.oci], [sockets.lxc], [sockets.native], [sockets.control]", SocketConfig),
        ("[approvals]", Approvals),
        ("[webhook]", WebhookConfig),
        ("[audit]", Audit),
        ("[[workload]]", Section),
        ("match", Match),
    ):
        parts += [f"## {heading}", paragraphs(inspect.getdoc(kind)).partition("\n\n")[0]]
        rows = [
            (f"`{field.encode_name}`", shown_default(field), meaning)
            for field in msgspec.structs.fields(kind)
            if (meaning := attributes(kind).get(field.name)) is not None
        ]
        parts.append(table(("key", "default", "meaning"), rows))
    return "\n\n".join(parts)


def attributes(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a class says of its attributes, by name."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        head, colon, rest = line.strip().partition(": ")
        if line.startswith("    ") and not line.startswith("     ") and colon:
            name, found[head] = head, rest
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def shown_default(field: msgspec.structs.FieldInfo) -> str:
    """A key's default, as TOML would have it; `required` where there is none."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or value == [] or value == {} or isinstance(value, msgspec.Struct):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def control() -> str:
    """What is said over the control socket."""
    changing = _names(one for one in protocol.CONTROL_COMMANDS.items() if one[1].changes)
    answering = _names(one for one in protocol.CONTROL_COMMANDS.items() if one[1].answers)
    parts = [
        "# Control socket",
        "`sockets.control` of the configuration is a unix stream socket, over which the daemon is "
        "asked and told what to do; [`notifyd ctl`](cli.md#notifyd-ctl) speaks it. A request is "
        "one JSON object on one line, and so is its answer; a connection takes any number, one "
        "after the other.",
        '```text\n> {"notifyd": 1, "command": "kill", "id": "web"}\n'
        '< {"notifyd": 1, "result": {"processes": 1}}\n'
        '> {"notifyd": 1, "command": "kill", "id": "web"}\n'
        '< {"notifyd": 1, "error": "no workload \'web\' is supervised: see `notifyd ctl '
        'workloads`"}\n```',
        f"`notifyd` is the version of the protocol, {protocol.CONTROL_PROTOCOL_VERSION}. An answer "
        f"has `result` or "
        f"`error`, one line or several for a person. A request has at most "
        f"{protocol.MAX_CONTROL_REQUEST_BYTES} "
        f"bytes and {MESSAGE_TIMEOUT_S:g} seconds from its first byte to its newline; a connection "
        f"without "
        f"a request ends after {CONNECTION_IDLE_TIMEOUT_S:g} seconds. What is not understood, an "
        f"unknown command or "
        "field included, is answered with an error and ends the connection.",
        "Who may connect is for `mode` and `group` of `sockets.control` to say. Of those, root, "
        "the daemon's own user and whom `users` names may ask for everything, by the credentials "
        'that the kernel tells (SO_PEERCRED). With `users = "any"` everybody else may ask too, '
        f"but not for what changes something: {changing}. Every such request is "
        "[in the log](events.md#controlcommand) with who made it, done or not.",
        "Whom [`approvals`](configuration.md#approvals) names, by user or group (SO_PEERGROUPS), "
        f"may ask for everything that changes nothing, and for {answering}. No user may `approve` "
        "what their own programs ask for unless `approvals.self-approval` says so; root may. Who "
        "is refused is [in the log](events.md#approvalforbidden), too. A front end with logins of "
        "its own, as root or the daemon's user, says in `on_behalf_of` who answers.",
        "Times are seconds since 1970.",
    ]
    for name, command in protocol.CONTROL_COMMANDS.items():
        parts += [f"## {name}", *described(command.request, "A request has", "notifyd")]
        many = get_origin(command.result) is list
        result = get_args(command.result)[0] if many else command.result
        told = described(result, "The result is a list; each has" if many else "The result has")
        parts += [one for one in told if one not in parts[-2:] or one.startswith("|")]
    return "\n\n".join(parts)


def _names(commands: Iterable[tuple[str, protocol.ControlCommand]]) -> str:
    return ", ".join(f"`{name}`" for name, _ in commands)


def described(kind: type[Any], having: str, *but: str) -> list[str]:
    """What a message means, and its fields, from the `Attributes` of its documentation."""
    summary, _, rest = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    rows = []
    for line in textwrap.dedent(re.sub(r"\n {8}", " ", rest)).splitlines():
        name, colon, text = line.partition(": ")
        if colon and name not in but:
            rows.append((f"`{name}`", text.rstrip(".")))
    return [summary, having, table(("field", "meaning"), rows)] if rows else [summary]


def metrics() -> str:
    """What Prometheus is told."""
    rows = [
        (f"`{name}`", kind, ", ".join(f"`{one}`" for one in labels), text)
        for name, (kind, labels, text) in METRICS.items()
    ]
    bounds = ", ".join(f"{2**power / 1e9:.3g}" for power in BOUNDS)
    parts = [
        "# Metrics",
        "In Prometheus' text format, from `notifyd ctl metrics`, and at "
        "`http://127.0.0.1:PORT/metrics` if `metrics-port` of the configuration names a port. "
        "Every user of the machine can read that one, including names of workloads. It answers "
        "whoever asks for 127.0.0.1 or localhost, and no other name.",
        table(("metric", "kind", "labels", "meaning"), rows),
        "A workload that has ended has no series any more; its calls stay in "
        "`notifyd_answered_total` and in the histogram, which never go backwards while the daemon "
        "runs. Take rates over all workloads from those. The "
        f"{MAX_WORKLOAD_SERIES} workloads that came first have series of their own; the totals "
        f"have "
        "all.",
        f"The buckets of the histogram end at {bounds} seconds: powers of two of nanoseconds.",
        "`verdict` and `how` are those of [a call's event](events.md#call).",
    ]
    return "\n\n".join(parts)
