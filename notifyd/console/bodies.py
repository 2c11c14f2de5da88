"""The bodies of requests: what they may say, how long they may be, and how long they may take."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
import trio
from msgspec import Meta
from starlette.requests import Request

from notifyd.approvals.question import MAX_ANSWER_MINUTES, MAX_REASON_CHARS

__all__ = [
    "AnswerBody",
    "EmptyBody",
    "EndBody",
    "HttpError",
    "LoginBody",
    "RevokeBody",
    "read_body",
]

MAX_BODY_BYTES = 1 << 14  # of a body
BODY_TIMEOUT_S = 10.0  # seconds for it

T = TypeVar("T")
Secret = Annotated[str, Meta(max_length=100)]


class HttpError(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        text: one line for the person.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the address."""

    token: Secret


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's answer to a question."""

    id: int
    granted: bool
    scope: Literal["once", "process", "workload", "minutes", "always"] = "once"
    minutes: Annotated[float, Meta(ge=0, le=MAX_ANSWER_MINUTES)] = 0.0
    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARS)] = ""


class RevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which grant."""

    id: int


class EndBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which session."""

    id: Annotated[str, Meta(max_length=20)]


class EmptyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


async def read_body(request: Request, kind: type[T]) -> T:
    """The request's body.

    Raises:
        HttpError: it is too long, too slow, or something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HttpError(415, "a body that is not application/json")
    try:
        with trio.fail_after(BODY_TIMEOUT_S):
            data = await _received(request)
        return msgspec.json.decode(data or b"{}", type=kind)
    except trio.TooSlowError:
        raise HttpError(408, f"no whole body within {BODY_TIMEOUT_S:g} seconds") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(400, f"not understood: {error}") from error


async def _received(request: Request) -> bytes:
    data, more = b"", True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, "a body that ends too early")
        data += message.get("body", b"")
        more = message.get("more_body", False)
        if len(data) > MAX_BODY_BYTES:
            raise HttpError(413, f"a body of more than {MAX_BODY_BYTES} bytes")
    return data
