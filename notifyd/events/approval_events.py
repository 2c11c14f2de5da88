"""The part of the catalogue that is about asking people, and about who changed something."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from notifyd.events.event_kind import EventKind

__all__ = ["APPROVALS", "CONTROL"]

CONTROL: Mapping[str, str] = MappingProxyType(
    {
        "command": "`reload`, `rotate`, `detach`, `kill`, `approve`, `deny` or `revoke`",
        "approval": "the id of the question that was to be answered",
        "grant": "the id of the grant that was to be revoked",
        "by": "for whom the peer spoke, if that is a front end, and its name",
    }
)

APPROVALS: Mapping[str, EventKind] = MappingProxyType(
    {
        "approval.asked": EventKind(
            "A rule wants a person to decide a call, which waits.",
            {
                "approval": "the question's id",
                "question": "its text",
                "pid": "who calls: the process, in the supervisor's pid namespace",
                "exe": "the program that calls",
                "uid": "its user",
                "operation": "the operation",
                "args": "its arguments, as in the event of the call",
                "rule": "`file.py:function` that asks",
                "within_s": "seconds that it waits; nothing if that is for ever",
            },
            "{workload}: question {approval}: {question}",
        ),
        "approval.answered": EventKind(
            "A person has decided.",
            {
                "approval": "the question's id",
                "state": "`granted`, `refused`, or `superseded` by the answer to another one",
                "by": "who, and by which face",
                "by_uid": "the uid of the process that spoke for them, if that is a local one",
                "scope": "how long it is remembered: `once`, `process`, `workload`, `minutes`, "
                "`always`",
                "minutes": "how many",
                "reason": "in the person's words",
                "waited_s": "seconds from the question to the answer",
            },
            "{workload}: question {approval} {state} by {by}",
        ),
        "approval.ended": EventKind(
            "A question has ended without an answer.",
            {
                "approval": "the question's id",
                "state": "`expired` (nobody answered in time) or `withdrawn` (the caller is gone)",
                "waited_s": "seconds that it waited",
                "reason": "why",
            },
            "{workload}: question {approval} {state}",
        ),
        "approval.unasked": EventKind(
            "A rule wants a person to decide, and nobody is asked; its `otherwise` applies.",
            {
                "approval": "nothing: it has no id",
                "question": "its text",
                "pid": "who calls",
                "exe": "the program that calls",
                "uid": "its user",
                "operation": "the operation",
                "args": "its arguments",
                "rule": "`file.py:function` that would ask",
                "within_s": "seconds that it would wait",
                "reason": "why: nobody can be asked, or too many questions were asked",
            },
            "{workload}: not asked ({reason}): {question}",
        ),
        "approval.forbidden": EventKind(
            "A user tried to answer a question, or to revoke an answer, without permission.",
            {
                "peer": "who: name, pid and uid; of a webhook, its host",
                **CONTROL,
                "reason": "why",
            },
            "no {command} for {peer}: {reason}",
        ),
        "approval.revoked": EventKind(
            "An answer that was remembered for good holds no more.",
            {"grant": "its id", "by": "who revoked it", "rule": "the rule that it was for"},
            "grant {grant} revoked by {by}",
        ),
        "approval.lost": EventKind(
            "A question or an answer could not be written to the database. It still applies.",
            {"error": "what the database said"},
            "the approvals' database cannot be written: {error}",
        ),
        "webhook.failed": EventKind(
            "A question did not reach the webhook, or what it answered does not count.",
            {
                "approval": "the question's id",
                "peer": "the webhook's host",
                "reason": "why",
            },
            "{workload}: question {approval} and the webhook of {peer}: {reason}",
        ),
    }
)
