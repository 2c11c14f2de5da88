"""The socket at which `notifyd ctl console` asks for a way in: both ends of it.

It lies beside the control socket. Who asks is the uid that the kernel tells (SO_PEERCRED): root,
the user that runs the console, and whom that user named. All of them read what the console reads;
whether they may decide is the daemon's to say.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import msgspec

from notifyd.approvals.question import user_name
from notifyd.console.sessions import TOKEN_LASTS, Sessions
from notifyd.daemon.line_reader import LineReader
from notifyd.errors import PeerError, UsageError
from notifyd.intake.arrival import Peer
from notifyd.intake.reception import MESSAGE_TIMEOUT_S, reception, send_all

__all__ = ["LoginReply", "LoginRequest", "ask_console", "login_socket", "serve_logins"]

NAME = "console.sock"
_MAX_ANSWER_BYTES = 1 << 16  # bytes of an answer
_CLOSED = (
    "{} is not for you: root, or whose console it is, has to name you: `notifyd console --user`"
)


class LoginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for.

    Attributes:
        want: a way in; or that all sessions of this user end; of everybody, if it is root.
    """

    want: Literal["login", "end"]


class LoginReply(msgspec.Struct, frozen=True):
    """What is answered.

    Attributes:
        url: opens the page and logs in, once, within `lasts` seconds.
        ended: how many sessions were.
    """

    url: str = ""
    lasts: float = 0.0
    ended: int = 0


def login_socket(control: str, environ: Mapping[str, str], *, making: bool) -> str:
    """Where the socket is: beside the control socket, or among the user's own.

    Args:
        control: the path of the daemon's control socket.
        environ: for $XDG_RUNTIME_DIR.
        making: whether it is to be made, rather than found.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(control)), NAME)
    folder = environ.get("XDG_RUNTIME_DIR")
    own = f"{folder}/notifyd/{NAME}"
    if making:
        return own if folder and not os.access(os.path.dirname(beside), os.W_OK) else beside
    return own if folder and not os.path.exists(beside) and os.path.exists(own) else beside


async def serve_logins(
    server: socket.socket,
    sessions: Sessions,
    url: Callable[[str], str],
    told: Callable[[str], None],
    users: Collection[int] = (),
) -> None:
    """Answer for ever.

    Args:
        server: listening; it stays the caller's.
        sessions: where tokens are minted.
        url: the address for a token.
        told: what happens, a line each.
        users: who may, besides root and us.
    """

    async def attend(connection: socket.socket, peer: Peer) -> None:
        line = await LineReader(connection, MESSAGE_TIMEOUT_S).next()
        if line is None:
            return
        try:
            entry = msgspec.json.decode(line, type=LoginRequest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerError(f"not understood: {error}") from error
        if entry.want == "login":
            answer = LoginReply(url(sessions.mint(peer.uid, user_name(peer.uid))), TOKEN_LASTS)
        else:
            answer = LoginReply(ended=sessions.end_all(peer.uid))
        told(f"{entry.want} asked for by {peer}")
        await send_all(connection, msgspec.json.encode(answer) + b"\n")

    def welcome(peer: Peer) -> None:
        if peer.uid not in (0, os.geteuid(), *users):
            raise PeerError("not one of those who may log in: see `notifyd console --user`")

    await reception(server, attend, lambda peer, why: told(f"{peer}: {why}"), welcome=welcome)


def ask_console(path: str, want: Literal["login", "end"]) -> LoginReply:
    """Ask a console.

    Args:
        path: of its socket.
        want: see `LoginRequest`.

    Raises:
        UsageError: none answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(MESSAGE_TIMEOUT_S)
        try:
            client.connect(path)
            client.sendall(msgspec.json.encode(LoginRequest(want)) + b"\n")
            data = b""
            while (
                not data.endswith(b"\n")
                and len(data) < _MAX_ANSWER_BYTES
                and (more := client.recv(_MAX_ANSWER_BYTES))
            ):
                data += more
        except (PermissionError, BrokenPipeError, ConnectionResetError) as error:
            raise UsageError(_CLOSED.format(path)) from error
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no console answers at {path}: start `notifyd console` as this user or as root"
            ) from error
    if not data:
        raise UsageError(_CLOSED.format(path))
    try:
        return msgspec.json.decode(data, type=LoginReply)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"what answers at {path} is no console of this version") from error
