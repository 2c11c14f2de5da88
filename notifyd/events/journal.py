"""Events in systemd's journal, by its native protocol: systemd.io/JOURNAL_NATIVE_PROTOCOL.

An entry is one datagram: `NAME=value` lines, or the name, a newline, eight bytes of length (little
endian), the value and a newline where the value has newlines. What is too large for a datagram is
passed as a sealed memfd. Pure but for `Journal`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from notifyd.events.background import EventWriterError
from notifyd.events.words import event_text, refuses
from notifyd.kernel.memfd import sealed

__all__ = ["SOCKET", "Journal", "entry"]

SOCKET = "/run/systemd/journal/socket"
JOURNAL_TIMEOUT_S = 5.0  # seconds that one entry may wait for a journal that is slow

# syslog(3)
_PRIORITIES: Mapping[str, int] = MappingProxyType({"error": 3, "warning": 4, "info": 6})
_REFUSED, _CALL = 5, 6  # a call has no level
_FIELDS = (
    "event", "time", "workload", "pid", "tid", "exe", "uid", "process", "operation", "syscall",
    "arch", "verdict", "how", "errno", "value", "rule", "reason", "by", "peer", "section",
)  # fmt: skip


def entry(event: Mapping[str, Any]) -> bytes:
    """An event as the journal takes it.

    `MESSAGE` is a sentence; `NOTIFYD_EVENT`, `NOTIFYD_WORKLOAD` and so on are fields of the event;
    `NOTIFYD_LINE` is all of it, in JSON.
    """
    fields = {
        "MESSAGE": event_text(event),
        "PRIORITY": str(_priority(event)),
        "SYSLOG_IDENTIFIER": "notifyd",
    }
    for name in _FIELDS:
        if event.get(name) is not None:
            fields[f"NOTIFYD_{name.upper()}"] = _text(event[name])
    fields["NOTIFYD_LINE"] = msgspec.json.encode(event).decode()
    return b"".join(_field(name, value.encode()) for name, value in fields.items())


class Journal:
    """Sends events to the journal.

    Raises:
        EventWriterError: there is none.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(JOURNAL_TIMEOUT_S)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise EventWriterError(
                f"{path!r}: {error.strerror}: is systemd-journald there?"
            ) from error

    def keep(self, data: bytes) -> None:
        """Send lines, an entry each."""
        for line in data.splitlines():
            try:
                self._send(entry(msgspec.json.decode(line, type=dict[str, Any])))
            except OSError as error:
                raise EventWriterError(error.strerror or "it does not take entries") from error

    def close(self) -> None:
        """Nothing is left to send."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_large(data)

    def _send_large(self, data: bytes) -> None:
        descriptor = sealed("notifyd-event", data)
        try:
            socket.send_fds(self._socket, [], [descriptor])
        finally:
            os.close(descriptor)


def _priority(event: Mapping[str, Any]) -> int:
    return _REFUSED if refuses(event) else _PRIORITIES.get(str(event.get("level")), _CALL)


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(value)), value)
    return b"%b=%b\n" % (name.encode(), value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
