"""Calls that a target does itself, so that others see who did them: connecting and sending.

A server asks who its client is (SO_PEERCRED), a receiver who sent (SCM_CREDENTIALS, SO_PASSCRED):
sockets of AF_UNIX tell the process that called. So where it could be such a socket, and the rules
saw nothing but what can be laid before the target once more, the target is led through the call.
Everything else is performed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cache, partial
from struct import iter_unpack
from typing import TYPE_CHECKING, TypeAlias

from notifyd.errors import CannotPerform, TargetFault, TargetGone
from notifyd.kernel import arch, pidfd, proc, procmap
from notifyd.kernel.structs import CMSGHDR, MSGHDR
from notifyd.perform.call_tracer import CallTracer, Expected, LedRequest, LedResult
from notifyd.perform.fd_limit import keep_spare
from notifyd.perform.messages import PLAIN
from notifyd.perform.sender import may_name
from notifyd.perform.sheet import PLACE, Sheets
from notifyd.policy.call import ARCH, ARG0, ID, NR, Call
from notifyd.policy.operations import Connect, SendTo
from notifyd.policy.operations.sending import MessageHeader
from notifyd.policy.verdicts import Allow

if TYPE_CHECKING:
    from notifyd.kernel.socket import SockAddr
    from notifyd.target.thread import StoppedThread

__all__ = ["NEEDED", "SelfPerformed"]

Laid: TypeAlias = "tuple[tuple[int, ...], bytes]"
"""The registers of a call, and what lies in the place that they lead to."""

Lay: TypeAlias = "Callable[[int], Laid]"
"""What makes that of the address of the place."""

NEEDED = ("mmap", "madvise", "mseal", "close")
"""The calls that a target makes on the way, which its filter must not answer otherwise."""

_NAME, _ANCILLARY = 64, 256  # where in a place an address lies, and control data
_MAX_CONTROL = PLACE - _ANCILLARY
_KINDS = PLAIN | {
    (socket.SOL_SOCKET, socket.SCM_RIGHTS),
    (socket.SOL_SOCKET, socket.SCM_CREDENTIALS),
}
_MAX_PIECES = 64  # of a message that are looked at
_MAX_UNFIT = 256  # processes that are remembered
_FLAGS = {"sendto": 3, "sendmsg": 2}  # the register of their flags
_FITTING = ("connect", "sendto", "sendmsg")


class SelfPerformed:
    """What of a workload's calls its targets do themselves.

    Args:
        killable: whether only what kills disturbs a call that was received: WAIT_KILLABLE_RECV.

    Attributes:
        expected: notifications that are such calls, and not to be asked about again.
        allowed: whether the filter is known to let by what that takes: `NEEDED`.
    """

    def __init__(self, *, killable: bool) -> None:
        self.expected: Expected = {}
        self.allowed = True
        self._possible = killable and possible()
        self._sheets = Sheets()
        self._unfit: set[int] = set()

    async def attempt(self, call: Call, verdict: Allow, listener: int) -> LedResult | None:
        """Let the target do its call, with what the rules saw.

        Args:
            call: what they saw.
            verdict: what they said.
            listener: the workload's; the call is answered through a copy of it.

        Returns:
            What came of it: the call is answered. None: it is not, and has to be performed.

        Raises:
            TargetGone: the target is no longer in its call.
        """
        if not self.fits(call, verdict):
            return None
        assert isinstance(call, Connect | SendTo)
        thread: StoppedThread = call.target  # type: ignore[assignment]
        pid = thread.identity.pid
        if pid in self._unfit or _filters(thread.tid) != _own_filters() + 1:
            return None
        try:
            lay = _layout(call)
            if lay is None:
                return None
            came = await self._leader(call, lay, thread, pid, listener).run()
        except TargetGone:
            raise
        except (CannotPerform, TargetFault, OSError):
            return None
        if came.unfit:
            if len(self._unfit) >= _MAX_UNFIT:
                self._unfit.clear()
            self._unfit.add(pid)
        return came

    def close(self) -> None:
        """The workload has ended."""
        self._sheets.close()

    def fits(self, call: Call, verdict: Allow) -> bool:
        """Whether others see who does a call, and all that rules saw can be laid before it."""
        if not isinstance(call, Connect | SendTo) or not (self._possible and self.allowed):
            return False
        if isinstance(call, SendTo) and may_name() and not call.carries_control:
            return False  # a message that we send can name its target, and that is quicker
        if call.note[ARCH] != arch.native().audit or call.syscall not in _FITTING:
            return False
        if verdict.changes or verdict.grant or call.read_itself or "path" in call.seen:
            return False
        if isinstance(call, Connect):
            return _is_local(call.address)
        return all(to is None or _is_local(to) for to in call.addresses)

    def _leader(
        self, call: Connect | SendTo, lay: Lay, thread: StoppedThread, pid: int, listener: int
    ) -> CallTracer:
        process = pidfd.open_process(pid)
        try:
            # Invariant: a pid is used only through what was opened before ID_VALID held.
            thread.check()
            keep_spare(process)
            note = call.note
            flags, size = _FLAGS.get(call.syscall, -1), _size(call)
            wanted = LedRequest(thread.tid, pid, note[ID], note[NR], note[ARCH], flags, size, lay)
            return CallTracer(wanted, self._sheets, listener, process, self.expected)
        except BaseException:
            os.close(process)
            raise


def _layout(call: Connect | SendTo) -> Lay | None:
    """How the call is laid before its target; None if that is no good."""
    registers = call.note[ARG0:]
    if isinstance(call, Connect):
        return _with_address(registers, 1, call.address, call.addrlen)
    (to,) = call.addresses
    if call.syscall == "sendto":
        return _with_address(registers, 4, to, call.addrlen)
    (header,) = call.headers
    control = _control(call, header)
    if control is None or (to is not None and len(to.raw) != header.length):
        return None
    return partial(_message, registers, header, to.raw if to is not None else b"", control)


def _with_address(
    registers: tuple[int, ...], which: int, address: SockAddr | None, size: int
) -> Lay | None:
    if address is None or len(address.raw) != size:
        return None  # there is nothing that the rule saw, or the kernel refuses it
    data = address.raw
    return lambda at: ((*registers[:which], at, *registers[which + 1 :]), data)


def _message(
    registers: tuple[int, ...], header: MessageHeader, address: bytes, control: bytes, at: int
) -> Laid:
    """The registers and the place of a sendmsg: its pieces stay where they are."""
    message = MSGHDR[8].pack(
        at + _NAME if address else 0, len(address), header.iov, header.iovlen,
        at + _ANCILLARY if control else 0, len(control), 0,
    )  # fmt: skip
    data = message.ljust(_NAME, b"\0") + address
    return (*registers[:1], at, *registers[2:]), data.ljust(_ANCILLARY, b"\0") + control


def _control(call: SendTo, header: MessageHeader) -> bytes | None:
    """A copy of the control data; None where it says what may not be said, or nobody understands.

    The descriptor may be another socket by the time of the call: what chooses a route must not be
    in it for any.
    """
    if not header.controllen:
        return b""
    if header.controllen > _MAX_CONTROL:
        return None
    data, at = call.read_field(header.control, header.controllen), 0
    while at + CMSGHDR.size <= len(data):
        length, level, kind = CMSGHDR.unpack_from(data, at)
        if (level, kind) not in _KINDS or not CMSGHDR.size <= length <= len(data) - at:
            return None
        at += length + -length % 8
    return data


def _size(call: Connect | SendTo) -> int:
    """How many bytes it sends, as far as that can be said now; more than that by no means."""
    if isinstance(call, Connect):
        return 0
    if not call.headers:
        return call.size
    (header,) = call.headers
    if header.iovlen > _MAX_PIECES:
        return 1 << 63
    vector = call.read_field(header.iov, 16 * header.iovlen) if header.iovlen else b""
    return sum(size for _, size in iter_unpack("=QQ", vector))


def _is_local(address: SockAddr | None) -> bool:
    return address is not None and address.family == socket.AF_UNIX


def _filters(tid: int) -> int:
    """How many filters a thread has: those of its own might kill it for a call of ours."""
    try:
        return proc.confinement(tid)[1]
    except OSError:
        return -1


@cache
def _own_filters() -> int:
    return proc.confinement(os.getpid())[1]


@cache
def possible() -> bool:
    """Whether this machine can: x86-64, mseal(2) and PROCMAP_QUERY (Linux 6.11)."""
    if arch.native().name != "x86_64":
        return False
    try:
        return procmap.area(os.getpid(), 0) is not None
    except OSError:
        return False
