"""Handing a listener to a daemon: the client's side of the native handover.

Imports what it needs when it is called: everybody who imports notifyd imports this.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from notifyd.errors import PeerError, UsageError
from notifyd.kernel.limits import READ_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from notifyd.intake.native_wire import Handover, NativeReply, Offer

__all__ = ["ask_program", "default_socket", "handover"]

SYSTEM_SOCKET = "/run/notifyd/native.sock"
HANDOVER_TIMEOUT_S = 30.0  # seconds for the daemon's reply
_MAX_REPLY_BYTES = 1 << 20  # bytes of it
_MAX_TEXT_CHARS = 1000  # characters of what it says


def default_socket() -> str:
    """Where the daemon is: $NOTIFYD_SOCKET, or this user's own if there is one, or the system's."""
    given = os.environ.get("NOTIFYD_SOCKET")
    if given:
        return given
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = f"{runtime}/notifyd/native.sock" if runtime else ""
    return own if own and os.path.exists(own) else SYSTEM_SOCKET


def handover(
    listener: int,
    *,
    id: str,  # noqa: A002 (the word of the runtime specification)
    path: str | None = None,
    section: str = "",
    metadata: str = "",
    annotations: Mapping[str, str] | None = None,
    pid: int = 0,
    killable: bool = False,
    program: str = "",
) -> Handover:
    """Hand a seccomp listener to a daemon, which decides its calls from then on.

    The filter must let this process connect, send, receive and ask who listens (getsockopt) without
    a notification, unless another process does this: it would not be answered. Waits at most 30 s.

    Args:
        listener: the notify descriptor. It stays the caller's, who should close it: as long as it
            is open, calls wait even if the daemon is gone.
        id: how the workload is called: 1 to 256 printable characters.
        path: the daemon's native socket; `default_socket()` by default.
        section: the section of the daemon's configuration to be supervised under.
        metadata: any text, for the configuration to choose by.
        annotations: the same by names.
        pid: the first process behind the listener; 0 to leave it open.
        killable: whether the filter was installed with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.
        program: the digest of `Offer`, if that program is what was installed.

    Returns:
        What the daemon calls the workload, and the section that it is supervised under.

    Raises:
        UsageError: there is no daemon, it is neither root's nor ours, or it refuses; the text says
            why.
    """
    request = {
        "request": "handover",
        "id": id,
        "pid": pid,
        "section": section,
        "metadata": metadata,
        "annotations": dict(annotations or {}),
        "killable": killable,
        "program": program,
    }
    reply = _ask(path or default_socket(), request, (listener,))
    if reply.handover is None:
        raise UsageError(f"the daemon refuses to supervise {id!r}: {_sanitized(reply.error)}")
    return reply.handover


def ask_program(
    *,
    id: str,  # noqa: A002
    path: str | None = None,
    section: str = "",
    metadata: str = "",
) -> Offer:
    """The program to install for what is going to be handed over.

    Args:
        id: as for `handover`, as are all others.
        path: the daemon's native socket.
        section: wanted.
        metadata: to choose by.

    Raises:
        UsageError: there is no daemon, or it would refuse the handover; the text says why.
    """
    request = {"request": "program", "id": id, "section": section, "metadata": metadata}
    reply = _ask(path or default_socket(), request, ())
    if reply.offer is None:
        raise UsageError(f"the daemon has no program for {id!r}: {_sanitized(reply.error)}")
    return reply.offer


def _sanitized(text: str) -> str:
    """What a daemon says, on one line: it may repeat what others have sent it."""
    from notifyd.events.sanitize import printable

    return printable(text, _MAX_TEXT_CHARS)


def _ask(path: str, request: Mapping[str, object], fds: tuple[int, ...]) -> NativeReply:
    import json
    import socket

    from notifyd.intake.native_wire import NATIVE_PROTOCOL_VERSION, parse_reply
    from notifyd.kernel import unix

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(HANDOVER_TIMEOUT_S)
        try:
            connection.connect(path)
            _check_owner(path, unix.peer_cred(connection)[1])
            data = json.dumps({"notifyd": NATIVE_PROTOCOL_VERSION, **request}).encode()
            with contextlib.suppress(BrokenPipeError):  # it may have refused by now, with a reason
                rest = data[unix.send_fds(connection, data, fds) :]
                if rest:
                    connection.sendall(rest)
            answer = _read(connection)
        except OSError as error:
            raise UsageError(_remedy(path, error)) from error
    if not answer:
        raise UsageError(f"the daemon at {path} left without an answer; look at its log")
    try:
        return parse_reply(answer)
    except PeerError as error:
        raise UsageError(
            f"what answers at {path} is not notifyd of this version: {error}"
        ) from error


def _check_owner(path: str, uid: int) -> None:
    """See that a daemon is root's or our own: it will decide what our calls do, and get results.

    The path alone does not say so: `su` leaves $XDG_RUNTIME_DIR as it was.
    """
    if uid not in (0, os.geteuid()):
        raise UsageError(
            f"the daemon at {path} belongs to uid {uid}, who could do as he likes with what it "
            "supervises: name root's or your own with $NOTIFYD_SOCKET"
        )


def _read(connection: socket.socket) -> bytes:
    """Everything up to the newline that ends a reply, or what came before the end."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _MAX_REPLY_BYTES:
        piece = connection.recv(READ_BYTES)
        if not piece:
            break
        data += piece
    return data


def _remedy(path: str, error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return f"no daemon listens at {path}: start `notifyd serve`, or give its native socket"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to connect: sockets.native of its configuration says who may"
    if isinstance(error, TimeoutError):
        return f"the daemon at {path} has not answered within {HANDOVER_TIMEOUT_S:g} seconds"
    why = (error.strerror or str(error)).lower()
    return f"{path}: {why}: is that the native socket of notifyd?"
