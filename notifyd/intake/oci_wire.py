"""Runtime-spec's containerProcessState, as runc, crun and youki send it: bytes and fds in.

Pure: it neither reads nor writes a socket. The message has no framing, so its end is where its JSON
object ends (opencontainers/runtime-spec, config-linux.md, "containerprocessstate").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from notifyd.bpf import plain_json
from notifyd.errors import PeerError

__all__ = ["MAX_OCI_MESSAGE_BYTES", "Assembly", "ProcessState", "parse_process_state"]

MAX_OCI_MESSAGE_BYTES = 1 << 20  # of one message; Kubernetes' annotations alone may have 256 KiB
SECCOMP_FD = "seccompFd"
MAX_NAME_CHARS = 256

_MARKS = re.compile(rb'["\\{}\[\]]')


class Assembly:
    """A JSON object that arrives in pieces. Each byte is read once, however it is cut.

    Args:
        most: how many bytes are too many.
    """

    def __init__(self, most: int = MAX_OCI_MESSAGE_BYTES) -> None:
        self._most = most
        self._pieces = bytearray()
        self._begun = False
        self._depth = 0
        self._in_text = False
        self._escaped = -1  # where a character stands that a backslash makes harmless

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, piece: bytes) -> bytes | None:
        """Take what was received; the whole object, as soon as it is there.

        Raises:
            PeerError: it is too long, or no object.
        """
        start = len(self._pieces)
        if start + len(piece) > self._most:
            raise PeerError(f"a message of more than {self._most} bytes")
        if not self._begun:
            piece = piece.lstrip()
            self._begun = bool(piece)
            if piece[:1] not in (b"", b"{"):
                raise PeerError("a message that is no JSON object")
        self._pieces += piece
        for mark in _MARKS.finditer(self._pieces, start):
            if self._ends(mark.group(), mark.start()):
                return bytes(self._pieces)
        return None

    def _ends(self, mark: bytes, at: int) -> bool:
        if at == self._escaped:
            return False
        if self._in_text:
            if mark == b"\\":
                self._escaped = at + 1
            self._in_text = mark != b'"'
        elif mark == b'"':
            self._in_text = True
        elif mark in b"{[":
            self._depth += 1
        elif mark in b"}]":
            self._depth -= 1
            return self._depth <= 0
        return False


class _OciState(msgspec.Struct):
    id: str
    status: str = ""
    pid: int = 0
    bundle: str = ""
    annotations: dict[str, str] | None = None


class _ProcessState(msgspec.Struct, rename="camel"):
    state: _OciState
    fds: list[str] = []
    pid: int = 0
    metadata: str = ""
    oci_version: str = ""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a runtime says of a process that it starts behind a filter.

    Attributes:
        id: the container's.
        pid: the process in the runtime's pid namespace; 0 where it does not say (crun 1.8, exec).
        init: the container's first process, likewise.
        creating: whether the container is only being made: not an exec into it.
        metadata: `listenerMetadata`; "" where there is none.
        bundle: as the runtime has it; "" or "." where it does not say.
        listener: which of the descriptors is the listener.
    """

    id: str
    pid: int
    init: int
    creating: bool
    metadata: str
    bundle: str
    annotations: Mapping[str, str]
    listener: int


def parse_process_state(message: bytes, fds: Sequence[int]) -> ProcessState:
    """Read a message. The descriptors stay the caller's.

    Raises:
        PeerError: it is not what the specification says.
    """
    try:
        found = msgspec.convert(plain_json.decode(message), _ProcessState)
    except ValueError as error:  # msgspec.ValidationError, too
        raise PeerError(f"no containerProcessState: {error}") from error
    if len(found.fds) != len(fds):
        raise PeerError(f"{len(found.fds)} names for {len(fds)} descriptors")
    if found.fds.count(SECCOMP_FD) != 1:
        raise PeerError(f"{found.fds.count(SECCOMP_FD)} descriptors are named {SECCOMP_FD}, not 1")
    state = found.state
    return ProcessState(
        id=checked_name(state.id),
        pid=found.pid,
        init=state.pid,
        creating=state.status == "creating",
        metadata=found.metadata,
        bundle=state.bundle,
        annotations=MappingProxyType(state.annotations or {}),
        listener=fds[found.fds.index(SECCOMP_FD)],
    )


def checked_name(name: str) -> str:
    """An id that may stand in a log.

    Raises:
        PeerError: it is empty, too long, or has what does not print.
    """
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise PeerError(f"an id has 1 to {MAX_NAME_CHARS} printable characters, not {name[:40]!r}")
    return name
