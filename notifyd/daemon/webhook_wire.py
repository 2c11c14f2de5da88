"""What is said to a webhook and what it answers, as bytes. Pure; docs/reference/webhook.md has it.

Both ways are signed as Stripe and GitHub do: HMAC-SHA256 over the time and the body, so that
nothing can be made up, and nothing old be sent again.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from notifyd.approvals.question import MAX_ANSWER_MINUTES, Answer, Person, Scope
from notifyd.daemon.approval_messages import QuestionView, Reason, ScopeName
from notifyd.errors import PeerError
from notifyd.events.sanitize import json_line, printable

__all__ = [
    "MAX_SIGNATURE_AGE_S",
    "MAX_WEBHOOK_ANSWER_BYTES",
    "SIGNATURE_HEADER",
    "WebhookAnswer",
    "encode",
    "parse_answer",
    "sign",
]

SIGNATURE_HEADER = "Notifyd-Signature"
MAX_SIGNATURE_AGE_S = 300.0  # seconds that a signature may be old, or ahead: clocks differ
MAX_WEBHOOK_ANSWER_BYTES = 1 << 16  # of an answer


class _Delivery(msgspec.Struct, frozen=True):
    notifyd: int
    delivery: str
    question: QuestionView


class WebhookAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person said to whom the webhook leads.

    Attributes:
        delivery: as it came with the question: an answer is good for that one only.
        answer: `approve` or `deny`.
        by: who answers, as they are known there.
        scope: how long it holds: one of the question's `scopes`.
        minutes: how many, for the scope `minutes`.
        reason: why, for the record.
    """

    delivery: str
    answer: Literal["approve", "deny"]
    by: Annotated[str, Meta(min_length=1, max_length=100)]
    scope: ScopeName = "once"
    minutes: Annotated[float, Meta(ge=0, le=MAX_ANSWER_MINUTES)] = 0.0
    reason: Reason = ""


def encode(delivery: str, question: QuestionView) -> bytes:
    """The body of a request."""
    return json_line(msgspec.json.encode(_Delivery(1, delivery, question)))


def sign(secret: bytes, body: bytes, now: float) -> str:
    """The value of the header: `t=SECONDS,v1=HEX`, the HMAC of `SECONDS.BODY`."""
    stamp = str(int(now))
    return f"t={stamp},v1={_mac(secret, stamp, body)}"


def parse_answer(
    secret: bytes, header: str, body: bytes, delivery: str, now: float, place: str
) -> Answer:
    """Read an answer.

    Args:
        secret: what it has to be signed with.
        header: the signature; "" for none.
        body: JSON.
        delivery: what it has to be an answer to.
        now: seconds since 1970.
        place: where it came from, for the record.

    Raises:
        PeerError: it is not signed so, too old, not about this, or not understood.
    """
    _check(secret, header, body, now)
    try:
        said = msgspec.json.decode(body, type=WebhookAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"not understood: {error}") from error
    if not hmac.compare_digest(said.delivery.encode("utf-8", "replace"), delivery.encode()):
        raise PeerError("an answer to another question")
    person = Person(printable(said.by), None, "webhook", place)
    granted = said.answer == "approve"
    return Answer(granted, person, Scope(said.scope), said.minutes, printable(said.reason, 1000))


def _check(secret: bytes, header: str, body: bytes, now: float) -> None:
    if not header:
        raise PeerError(f"not signed: it has no {SIGNATURE_HEADER}")
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 15):
        raise PeerError("not signed: its signature has no time")
    given = parts.get("v1", "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, _mac(secret, stamp, body).encode()):
        raise PeerError("wrongly signed")
    if abs(now - int(stamp)) > MAX_SIGNATURE_AGE_S:
        raise PeerError(
            f"signed {now - int(stamp):.0f} seconds ago; at most {MAX_SIGNATURE_AGE_S:g} are good"
        )


def _mac(secret: bytes, stamp: str, body: bytes) -> str:
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
