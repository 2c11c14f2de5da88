"""The short way of connecting, binding and sending by UDP, in the supervisor itself.

For targets that have the supervisor's own context, and sockets that no other call locks for long:
whoever uses a locked one waits, and nothing ends that. What is not done here is for a
`PerformedCall`, which also says what is wrong with it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from socket import AF_INET, AF_INET6, MSG_DONTWAIT
from typing import TypeAlias

from notifyd.errors import TargetFault
from notifyd.kernel import pidfd
from notifyd.kernel import socket as raw
from notifyd.perform.messages import copy_messages, message_flags
from notifyd.perform.syscall_result import SyscallResult
from notifyd.perform.taken_socket import UDP, TakenSocket, protocol_of
from notifyd.policy.operations import Bind, Connect, SendTo
from notifyd.target.thread import StoppedThread

__all__ = ["give_address", "send"]

LetGo: TypeAlias = Callable[[int], None]
"""What closes a descriptor where that may wait: `Closing.let_go`."""


def give_address(
    call: Connect | Bind, thread: StoppedThread, let_go: LetGo
) -> SyscallResult | None:
    """Connect or bind to the address that a rule saw, if that does not wait.

    Returns:
        None if it is not done.

    Raises:
        TargetGone.
    """
    address = call.address
    if address is None or address.family not in (AF_INET, AF_INET6):
        return None
    if len(address.raw) != call.addrlen:
        return None
    taken = _take(thread, call.fd, let_go)
    if taken is None:
        return None
    try:
        # Invariant: no effect before the id is known to be valid.
        thread.check()
        (raw.connect if isinstance(call, Connect) else raw.bind)(taken.fd, address.raw)
    except OSError as error:
        return SyscallResult(0, error.errno or errno.EIO)
    finally:
        os.close(taken.fd)
    return SyscallResult()


def send(call: SendTo, thread: StoppedThread, let_go: LetGo) -> SyscallResult | None:
    """Send a message to the address that a rule saw, if that does not wait.

    Returns:
        None if it is not done.

    Raises:
        TargetGone, WouldBlock.
    """
    if call.is_several or call.carries_control:
        return None
    taken = _take(thread, call.fd, let_go)
    if taken is None:
        return None
    try:
        flags = message_flags(call, taken.fd)
        if not taken.sends_quickly(flags):
            return None
        (message,) = copy_messages(call, -1, None, ExitStack(), whole=True)
        thread.check()
        flags |= MSG_DONTWAIT
        return SyscallResult(raw.sendmsg(taken.fd, message.pieces, flags, message.address, b""))
    except TargetFault:
        return None
    except OSError as error:
        # It has to be waited for, or to be told by a signal as well.
        if error.errno == errno.EPIPE or (error.errno == errno.EAGAIN and taken.waits(call.flags)):
            return None
        return SyscallResult(0, error.errno or errno.EIO)
    finally:
        os.close(taken.fd)


def _take(thread: StoppedThread, number: int, let_go: LetGo) -> TakenSocket | None:
    """A socket of UDP, which the caller closes; None if it is another one, or cannot be had."""
    # No other is taken: closing the last copy could wait.
    try:
        if protocol_of(thread.tid, number) not in UDP:
            return None
        task = thread.open()
        try:
            own = pidfd.get_fd(task, number)
        finally:
            os.close(task)
    except (OSError, TargetFault):
        return None
    with suppress(TargetFault):
        taken = TakenSocket.of(own)
        if taken.is_plain:
            return taken
    let_go(own)  # it was exchanged meanwhile
    return None
