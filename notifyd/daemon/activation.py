"""Sockets that systemd opened for us: sd_listen_fds(3).

Owns reading LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and whatever descriptors they tell of.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import MappingProxyType

from notifyd.errors import UsageError
from notifyd.intake.protocols import PROTOCOLS
from notifyd.kernel.socket import socket_info

__all__ = ["TYPES", "Activated", "take_activated"]

# By FileDescriptorName= of the unit that has the socket, systemd.socket(5).
TYPES = MappingProxyType(
    {
        **{kind: protocol.socket_type for kind, protocol in PROTOCOLS.items()},
        "control": socket.SOCK_STREAM,
    }
)

_STORED_NAME = re.compile(r"[0-9a-f]{16}\.(listener|ledger)")  # names of `keeping`
_LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START
# descriptors; more than FileDescriptorStoreMax= of our unit, and all its sockets
_MAX_PASSED_FDS = 8192
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_LISTEN = {
    socket.SOCK_STREAM: "ListenStream",
    socket.SOCK_SEQPACKET: "ListenSequentialPacket",
}


@dataclass(frozen=True, slots=True)
class Activated:
    """What systemd gave.

    Attributes:
        sockets: by name; listening, non-blocking, close-on-exec. The caller owns them.
        kept: descriptors that a predecessor had kept, by name; the caller owns them.
        refused: what was closed, and why; a line each, for the log.
    """

    sockets: Mapping[str, socket.socket]
    refused: tuple[str, ...]
    kept: Mapping[str, int]


def take_activated(
    environment: MutableMapping[str, str],
    types: Mapping[str, socket.SocketKind] = TYPES,
    first: int = _LISTEN_FDS_START,
) -> Activated:
    """Take what systemd gave to this process. To be called once, before any file is opened.

    The variables are removed, so that no child takes its own descriptors for these.

    Args:
        environment: os.environ.
        types: what is known, by name. All else is closed and reported.
        first: the number of the first descriptor.

    Raises:
        UsageError: a socket with a known name is not what it has to be. All are closed.
    """
    told = {name: environment.pop(name, "") for name in _VARIABLES}
    if told["LISTEN_PID"] != str(os.getpid()):
        return Activated({}, (), {})  # nothing, or for another process whose child we are
    names = dict(enumerate(_names(told["LISTEN_FDS"], told["LISTEN_FDNAMES"]), first))
    sockets: dict[str, socket.socket] = {}
    kept: dict[str, int] = {}
    refused: dict[int, str] = {}
    with ExitStack() as undo:
        # Invariant: every descriptor has its owner before anything can raise.
        for fd in names:
            undo.callback(_close, fd)
        for fd, name in names.items():
            if _STORED_NAME.fullmatch(name) and name not in kept:
                os.set_inheritable(fd, False)
                kept[name] = fd
                continue
            if name not in types or name in sockets:
                refused[fd] = _why_not(fd, name, name in sockets)
                continue
            sockets[name] = taken = _taken(fd, name, types[name])
            undo.callback(taken.detach)
        undo.pop_all()
    for fd in refused:
        _close(fd)
    return Activated(sockets, tuple(refused.values()), kept)


def _names(count: str, names: str) -> Iterator[str]:
    """A name for each descriptor; "" for one that has none.

    Raises:
        UsageError: the number of descriptors is not valid.
    """
    if not (count.isascii() and count.isdigit() and int(count) <= _MAX_PASSED_FDS):
        raise UsageError(
            f"LISTEN_FDS={count!r} is not a number up to {_MAX_PASSED_FDS}: unset it and LISTEN_PID"
        )
    told = names.split(":") if names else []
    for at in range(int(count)):
        yield told[at] if at < len(told) else ""


def _why_not(fd: int, name: str, twice: bool) -> str:
    if twice:
        return f"descriptor {fd} from systemd is one more socket named {name!r}: closed"
    return f"descriptor {fd} from systemd has the unknown name {name!r}: closed"


def _taken(fd: int, name: str, kind: socket.SocketKind) -> socket.socket:
    """The socket, which owns the descriptor if this does not raise."""
    try:
        family, found = socket_info(fd)
    except OSError as error:
        raise UsageError(_wrong(name, kind, "that is not a socket")) from error
    if family != socket.AF_UNIX or found != kind:
        raise UsageError(_wrong(name, kind, "of another type"))
    os.set_inheritable(fd, False)
    taken = socket.socket(fileno=fd)
    taken.setblocking(False)
    if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        taken.detach()
        raise UsageError(_wrong(name, kind, "that does not listen"))
    return taken


def _wrong(name: str, kind: socket.SocketKind, what: str) -> str:
    return (
        f"systemd gave a descriptor named {name!r} {what}: "
        f"its unit has to say {_LISTEN[kind]}= and a path, and Accept=no"
    )


def _close(fd: int) -> None:
    with suppress(OSError):
        os.close(fd)
