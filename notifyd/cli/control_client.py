"""The client end of the control socket: one connection, waited for. Knows no table, no screen."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from notifyd.daemon import protocol
from notifyd.errors import PeerError, UsageError
from notifyd.events.sanitize import printable
from notifyd.kernel.limits import READ_BYTES

__all__ = ["Connection", "connected", "default_socket"]

SYSTEM = "/run/notifyd/control.sock"
CONTROL_TIMEOUT_S = 60.0  # seconds; loading many rule files takes some, all else milliseconds
MAX_CONTROL_ANSWER_BYTES = 1 << 26  # bytes of an answer: thousands of workloads have 1 MiB


def default_socket(environ: Mapping[str, str]) -> str:
    """Where the daemon's control socket is by default.

    `$NOTIFYD_CONTROL`; or that of the user's own daemon, if it is there; or the system's.
    """
    named = environ.get("NOTIFYD_CONTROL")
    if named:
        return named
    folder = environ.get("XDG_RUNTIME_DIR")
    own = f"{folder}/notifyd/control.sock"
    return own if folder and os.path.exists(own) else SYSTEM


class Connection:
    """A connection to a daemon.

    Args:
        connected: the socket; it stays the caller's.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = bytearray()

    def ask(self, request: protocol.ControlRequest) -> Any:
        """Send a request and wait for its result.

        Raises:
            UsageError: there is no result; with the daemon's reason, or what is wrong with it.
        """
        try:
            with suppress(BrokenPipeError):  # it may have said why before it left
                self._socket.sendall(protocol.encode_request(request))
            line = self._line()
        except TimeoutError:
            raise UsageError(
                f"the daemon has not answered within {CONTROL_TIMEOUT_S:g} seconds: see its log"
            ) from None
        except OSError as error:
            raise UsageError(f"the daemon broke off ({error.strerror}): see its log") from error
        return self.parsed(line, protocol.command_of(request))

    @staticmethod
    def parsed(line: bytes, command: str) -> Any:
        """The result in a line that answers a command.

        Raises:
            UsageError: as `ask`.
        """
        try:
            return protocol.parse_reply(line, command)
        except PeerError as error:
            raise UsageError(
                f"what answers there is not notifyd of this version: {error}"
            ) from error
        except UsageError as error:
            # It may repeat what others have sent it.
            lines = [printable(one, 1000) for one in str(error).splitlines()]
            raise UsageError("\n".join(lines)) from error

    def _line(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            data = self._socket.recv(READ_BYTES)
            if not data or len(self._buffer) > MAX_CONTROL_ANSWER_BYTES:
                raise UsageError("the daemon broke off without an answer: see its log")
            start = len(self._buffer)
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    @property
    def waits(self) -> bool:
        """Whether a whole line is here already, of which select(2) knows nothing."""
        return b"\n" in self._buffer

    def fileno(self) -> int:
        """For select(2)."""
        return self._socket.fileno()

    def pieces(self) -> Iterator[bytes]:
        """Whole lines as they come, several at once, until the end of `piece`. Waits for ever."""
        self._socket.settimeout(None)
        while (piece := self.piece()) is not None:
            if piece:
                yield piece

    def piece(self) -> bytes | None:
        """The complete lines, after receiving once if there are none.

        Returns:
            None at the end, and where a line is longer than any event.

        Raises:
            TimeoutError: nothing came in time.
        """
        if not (end := self._buffer.rfind(b"\n") + 1):
            try:
                data = self._socket.recv(READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data or len(self._buffer) > MAX_CONTROL_ANSWER_BYTES:
                return None
            end = data.rfind(b"\n") + 1
            end += len(self._buffer) if end else 0
            self._buffer += data
        piece = bytes(self._buffer[:end])
        del self._buffer[:end]
        return piece


@contextmanager
def connected(path: str, *, patience: float = CONTROL_TIMEOUT_S) -> Iterator[Connection]:
    """Connect to a daemon.

    Args:
        path: of its control socket.
        patience: seconds for each answer.

    Raises:
        UsageError: no daemon listens, or not for us.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(patience)
        try:
            client.connect(path)
        except (OSError, ValueError) as error:
            raise UsageError(_explained(path, error)) from error
        yield Connection(client)


def _explained(path: str, error: OSError | ValueError) -> str:
    shown = printable(path, 200)
    if isinstance(error, PermissionError):
        return (
            f"{shown}: permission denied: ask as root, or have sockets.control of the "
            "configuration (mode, group, users) let you in"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return (
            f"no daemon listens at {shown}: start `notifyd serve` with sockets.control in its "
            "configuration, or give its --socket"
        )
    why = getattr(error, "strerror", None) or str(error)
    return f"{shown}: {why}: give the control socket of a daemon with --socket"
