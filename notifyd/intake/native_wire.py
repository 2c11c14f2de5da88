"""The native protocol: one request and one reply, both JSON objects. Pure.

A request may carry one descriptor, the listener, with its first byte. A reply ends with a newline.
docs/reference/handover.md has it for people.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from notifyd.errors import PeerError
from notifyd.intake.oci_wire import checked_name

__all__ = [
    "NATIVE_PROTOCOL_VERSION",
    "Handover",
    "NativeReply",
    "NativeRequest",
    "Offer",
    "parse_reply",
    "parse_request",
]

NATIVE_PROTOCOL_VERSION = 1


class NativeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a program asks for.

    Attributes:
        notifyd: the protocol's version.
        request: `handover` of a listener, or the `program` to install for it beforehand.
        id: how the workload is called.
        pid: the first process behind the listener, in the sender's own pid namespace; 0 to leave
            it open.
        section: the section of the configuration to be supervised under; "" for the first that
            fits.
        metadata: any text, for the configuration to choose by.
        annotations: likewise.
        killable: whether the filter was installed with WAIT_KILLABLE_RECV.
        program: the digest that came with the program that is installed; "" for another one.
    """

    notifyd: int
    request: Literal["handover", "program"]
    id: str
    pid: int = 0
    section: str = ""
    metadata: str = ""
    annotations: dict[str, str] = {}
    killable: bool = False
    program: str = ""


class Offer(msgspec.Struct, frozen=True):
    """A program to install, and what for.

    Attributes:
        section: the section that it is for.
        filter: `struct sock_filter` records of 8 bytes; in JSON, as base64.
        digest: to be given back with the listener.
        listens: whether it needs a listener: if not, there is nothing to hand over.
        rules: the rule files that it is made of.
    """

    section: str
    filter: bytes
    digest: str
    listens: bool
    rules: list[str] = []


class Handover(msgspec.Struct, frozen=True):
    """A listener was taken.

    Attributes:
        workload: how it is called from now on.
        section: the section that it is supervised under.
    """

    workload: str
    section: str


class NativeReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer: one of `error`, `offer` and `handover`."""

    notifyd: int = NATIVE_PROTOCOL_VERSION
    error: str = ""
    offer: Offer | None = None
    handover: Handover | None = None

    def encode(self) -> bytes:
        """The bytes for the wire."""
        # defaults are left out
        told = {"notifyd": NATIVE_PROTOCOL_VERSION, **msgspec.to_builtins(self)}
        return msgspec.json.encode(told) + b"\n"


def parse_request(message: bytes, fds: int) -> NativeRequest:
    """Read a request.

    Args:
        message: one JSON object.
        fds: how many descriptors came with it.

    Raises:
        PeerError: it is not one of those above, or has not the one descriptor that it needs.
    """
    request: NativeRequest = _decoded(message, NativeRequest)
    if request.notifyd != NATIVE_PROTOCOL_VERSION:
        raise PeerError(
            f"version {request.notifyd} of the protocol; this is version {NATIVE_PROTOCOL_VERSION}"
        )
    wanted = 1 if request.request == "handover" else 0
    if fds != wanted:
        raise PeerError(f"{request.request} with {fds} descriptors, not {wanted}")
    checked_name(request.id)
    return request


def parse_reply(message: bytes) -> NativeReply:
    """Read a reply.

    Raises:
        PeerError: it is not a reply.
    """
    reply: NativeReply = _decoded(message, NativeReply)
    return reply


def _decoded(message: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(message, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"not understood: {error}") from error
