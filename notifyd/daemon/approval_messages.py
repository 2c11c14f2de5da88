"""What is said over the control socket about questions, answers and grants."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from notifyd.approvals.question import MAX_ANSWER_MINUTES, MAX_REASON_CHARS
from notifyd.daemon.request import ControlRequest, Glob

__all__ = [
    "ActingFor",
    "Answered",
    "ApproveRequest",
    "DecisionView",
    "DenyRequest",
    "GrantView",
    "GrantsRequest",
    "HistoryRequest",
    "PendingRequest",
    "ProcessView",
    "QuestionView",
    "QuestionsRequest",
    "Reason",
    "RevokeRequest",
    "ScopeName",
]

ScopeName = Literal["once", "process", "workload", "minutes", "always"]
Number = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARS)]
Face = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,19}$")]


class ActingFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom a front end speaks.

    Attributes:
        name: as they logged in.
        face: what they used, as `console`; lower-case letters, digits and `-`.
        place: where from.
        uid: of a local user, if they are known to be one: then they may do what that user may.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    face: Face
    place: Annotated[str, Meta(max_length=200)] = ""
    uid: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] | None = None


class PendingRequest(ControlRequest, frozen=True, tag="pending"):
    """The questions that wait, the oldest first."""


class QuestionsRequest(ControlRequest, frozen=True, tag="questions"):
    """The same, and all of them again on a new line whenever one comes or goes.

    Nothing else is asked on this connection. A slow reader misses what came and went meanwhile.
    """


class _AnswerRequest(ControlRequest, frozen=True, kw_only=True):
    id: Number
    scope: ScopeName = "once"
    minutes: Annotated[float, Meta(ge=0, le=MAX_ANSWER_MINUTES)] = 0.0
    reason: Reason = ""
    on_behalf_of: ActingFor | None = None


class ApproveRequest(_AnswerRequest, frozen=True, kw_only=True, tag="approve"):
    """Let a call happen.

    Attributes:
        id: the question's.
        scope: how long that holds: one of the question's `scopes`.
        minutes: how many, for the scope `minutes`.
        reason: why, for the record.
        on_behalf_of: `name`, `face`, `place` and `uid` of a front end's user. Only root
            and the daemon's own user are believed.
    """


class DenyRequest(_AnswerRequest, frozen=True, kw_only=True, tag="deny"):
    """Refuse a call.

    Attributes:
        id: as of `approve`, as are the others.
        scope: how long that holds.
        minutes: how many.
        reason: why.
        on_behalf_of: for whom.
    """


class GrantsRequest(ControlRequest, frozen=True, tag="grants"):
    """The answers that hold for good, or for some minutes."""


class RevokeRequest(ControlRequest, frozen=True, kw_only=True, tag="revoke"):
    """Have an answer hold no more: it is asked again.

    Attributes:
        id: the grant's.
        on_behalf_of: as of `approve`.
    """

    id: Number
    on_behalf_of: ActingFor | None = None


class HistoryRequest(ControlRequest, frozen=True, tag="history"):
    """Earlier questions and their outcomes, the latest first.

    Attributes:
        limit: how many at most, 1 to 1000.
        workload: a glob; "" is any, as for those below.
        rule: `file.py:function`.
        operation: as `Connect`.
        exe: the program that asked.
        by: who answered.
        state: `granted`, `refused`, `expired`, `withdrawn` or `superseded`.
    """

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    workload: Glob = ""
    rule: Glob = ""
    operation: Glob = ""
    exe: Glob = ""
    by: Glob = ""
    state: Glob = ""


class ProcessView(msgspec.Struct, frozen=True):
    """A process, as it says of itself.

    Attributes:
        pid: in the daemon's pid namespace.
        name: what it calls itself.
        cmdline: its arguments in one line, quoted for a shell.
        uid: its effective user.
    """

    pid: int
    name: str
    cmdline: str
    uid: int


class DecisionView(msgspec.Struct, frozen=True):
    """The outcome of a question.

    Attributes:
        id: the question's.
        text: the question.
        workload: who asked, as are `exe` and `uid`.
        exe: the program.
        uid: its user.
        rule: `file.py:function`.
        operation: as `Connect`.
        state: `granted`, `refused`, `expired`, `withdrawn` or `superseded`.
        scope: how long the answer is remembered; "" for no answer, as are the texts below.
        by: who answered.
        face: what with: `ctl`, `console`, `webhook`, `terminal`.
        place: where from.
        reason: in the person's words, or why there is no answer.
        asked: when.
        ended: when.
        waited_s: seconds between the two.
    """

    id: int
    text: str
    workload: str
    exe: str
    uid: int
    rule: str
    operation: str
    state: str
    scope: str
    by: str
    face: str
    place: str
    reason: str
    asked: float
    ended: float
    waited_s: float


class QuestionView(msgspec.Struct, frozen=True):
    """A question that waits.

    Attributes:
        id: what `approve` and `deny` take.
        text: what the rule asks. It may repeat what a target said, as may all texts here.
        workload: its id.
        section: of the configuration.
        process: `PID@START` of who calls.
        pid: the same without its start, in the daemon's pid namespace.
        exe: the program that calls, by its path.
        caller: how that is not the file of this path any more, or here; "" if it is.
        uid: its user.
        operation: as `Connect`.
        syscall: as `connect`.
        args: of the call, as in [its event](events.md#call).
        rule: `file.py:function`.
        title: the first line of what the rule's file says of itself.
        key: what makes questions of this rule the same.
        scopes: how long an answer may hold; some of `once`, `process`, `workload`, `minutes`,
            `always`.
        asked: when.
        within: seconds that it waits from then on; null for ever.
        container: the container's id; "" where there is none.
        annotations: of the container.
        tree: the process and its ancestors, at most 16, as they were when the question was first
            shown; each has `pid`, `name`, `cmdline` and `uid`. Empty if they cannot be read.
        history: the outcomes of the latest questions of the same rule and key, at most 5; as
            `history` has them.
    """

    id: int
    text: str
    workload: str
    section: str
    process: str
    pid: int
    exe: str
    uid: int
    operation: str
    syscall: str
    args: dict[str, Any]
    rule: str
    title: str
    key: str
    scopes: list[str]
    asked: float
    within: float | None
    container: str
    annotations: dict[str, str]
    tree: list[ProcessView]
    history: list[DecisionView]
    caller: str = ""


class Answered(msgspec.Struct, frozen=True):
    """The answer counts.

    Attributes:
        id: the question's.
        text: the question.
        workload: who asked.
        granted: yes or no.
        scope: how long it holds.
    """

    id: int
    text: str
    workload: str
    granted: bool
    scope: str


class GrantView(msgspec.Struct, frozen=True):
    """An answer that outlives its workload.

    Attributes:
        id: what `revoke` takes.
        granted: yes or no.
        rule: `file.py:function`.
        key: which of its questions.
        uid: for which user.
        exe: for which program; the digest of its file counts as well.
        by: who answered.
        face: what with.
        place: where from.
        reason: in their words.
        question: the id of the one that was answered so.
        made: when.
        until: when it ends; null for never.
    """

    id: int
    granted: bool
    rule: str
    key: str
    uid: int
    exe: str
    by: str
    face: str
    place: str
    reason: str
    question: int
    made: float
    until: float | None
