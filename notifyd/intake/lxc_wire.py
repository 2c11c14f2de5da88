"""LXC's proxy protocol: one request is one packet, one answer is one packet. Bytes in, values out.

Source: lxc/src/lxc/lxcseccomp.h (struct seccomp_notify_proxy_msg) and seccomp.c
(seccomp_notify_handler). A request is a header, the kernel's notification, an empty response with
the notification's id, and the cookie. With it come three descriptors, in this order: the directory
/proc/PID of the caller, its memory, and the listener. An answer is the same header and
notification, and the response; without the cookie, and without descriptors. LXC takes any other
length for a failure.

Knows no socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from notifyd.errors import PeerError
from notifyd.kernel.seccomp import DATA_SIZE
from notifyd.kernel.unotify import NOTIF, RESPONSE, note_from
from notifyd.policy.note import ID, PID, Note

__all__ = [
    "FDS",
    "LISTENER_INDEX",
    "MAX_COOKIE",
    "MAX_PACKET",
    "MESSAGE_HEADER",
    "LxcRequest",
    "decode",
    "encode",
]

MESSAGE_HEADER = Struct("@QiiHHHxxQ")
"""reserved, monitor_pid, init_pid, the sizes of seccomp_notif, seccomp_notif_resp and seccomp_data,
cookie_len: 32 bytes."""

FDS = 3  # descriptors with a request
LISTENER_INDEX = 2  # which of them is the listener

MAX_COOKIE = 65536  # bytes; LXC itself has no limit, but a line of its configuration is shorter
MAX_STRUCT = 1024  # bytes; the kernel's are 80, 24 and 64 up to 6.18, and only ever grow at the end
MAX_PACKET = MESSAGE_HEADER.size + 2 * MAX_STRUCT + MAX_COOKIE

_MAX_PID = 1 << 22  # PID_MAX_LIMIT of the kernel


@dataclass(frozen=True, slots=True)
class LxcRequest:
    """One call that LXC asks about.

    Attributes:
        note: the kernel's record, as LXC reports it.
        monitor_pid: the process that received it, in its own pid namespace.
        init_pid: the container's first process, in the same.
        cookie: `lxc.seccomp.notify.cookie`; "" where there is none.
        frame: header and notification as they go back.
        room: bytes that the response has in the answer.
    """

    note: Note
    monitor_pid: int
    init_pid: int
    cookie: str
    frame: bytes
    room: int

    @property
    def sender(self) -> tuple[int, int, str]:
        """What stays the same as long as a container runs."""
        return self.monitor_pid, self.init_pid, self.cookie


def decode(data: bytes) -> LxcRequest:
    """Read a request.

    Args:
        data: one whole packet.

    Raises:
        PeerError: it is not a request. The text says what is wrong.
    """
    if len(data) < MESSAGE_HEADER.size:
        raise PeerError(
            f"a packet of {len(data)} bytes, but the header alone has {MESSAGE_HEADER.size}"
        )
    reserved, monitor_pid, init_pid, notif, response, seccomp_data, cookie = (
        MESSAGE_HEADER.unpack_from(data)
    )
    if reserved:
        raise PeerError("the reserved field of the header is not 0: another version of the proxy")
    _check_sizes(notif, response, seccomp_data, cookie)
    frame = MESSAGE_HEADER.size + notif
    whole = frame + response + cookie
    if len(data) != whole:
        raise PeerError(f"a packet of {len(data)} bytes, but its header says {whole}")
    note = note_from(data, MESSAGE_HEADER.size)
    if RESPONSE.unpack_from(data, frame)[0] != note[ID]:
        raise PeerError("the response is for another notification")
    if not all(0 < pid <= _MAX_PID for pid in (note[PID], monitor_pid, init_pid)):
        raise PeerError("a process id that no process has")
    text = _text(data[frame + response :])
    return LxcRequest(note, monitor_pid, init_pid, text, data[:frame], response)


def _check_sizes(notif: int, response: int, seccomp_data: int, cookie: int) -> None:
    """The kernel's structs may have grown at their ends, which we do not know; not shrunk."""
    table = (
        ("seccomp_notif", notif, NOTIF.size),
        ("seccomp_notif_resp", response, RESPONSE.size),
        ("seccomp_data", seccomp_data, DATA_SIZE),
    )
    for name, size, least in table:
        if not least <= size <= MAX_STRUCT:
            raise PeerError(f"{name} of {size} bytes; {least} or more are known")
    if cookie > MAX_COOKIE:
        raise PeerError(f"a cookie of {cookie} bytes; at most {MAX_COOKIE} are taken")


def _text(cookie: bytes) -> str:
    try:
        return cookie.decode()
    except UnicodeDecodeError:
        raise PeerError("the cookie is not UTF-8") from None


def encode(request: LxcRequest, value: int, error: int, flags: int) -> bytes:
    """Write the answer to a request.

    Args:
        request: as it came.
        value: what the call returns, signed, 64 bits.
        error: an errno, negative, or 0.
        flags: `unotify.RESPONSE_CONTINUE` or 0.

    Raises:
        struct.error: a number does not fit.
    """
    response = RESPONSE.pack(request.note[ID], value, error, flags)
    return request.frame + response.ljust(request.room, b"\0")
