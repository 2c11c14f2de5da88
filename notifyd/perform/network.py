"""Performing in threads what helpers cannot: binding to a path, AF_UNIX, and several messages.

The socket is taken with pidfd_getfd(2), so what is performed happens to the same open socket. The
call itself runs in a thread that has put on the target's credentials and that can be left behind,
since a connect may hang for minutes.
"""

from __future__ import annotations

import errno
import os
import signal
import socket as socket_module
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from notifyd.errors import CannotPerform, TargetFault, TargetGone
from notifyd.kernel import pidfd, proc
from notifyd.kernel import socket as raw
from notifyd.perform import worker
from notifyd.perform.closing import Closing
from notifyd.perform.credentials import Credentials, enter, granted
from notifyd.perform.fd_limit import keep_spare
from notifyd.perform.messages import Message, copy_messages, message_flags
from notifyd.perform.sender import POWERS, Sender, in_effect
from notifyd.perform.stage import Stage
from notifyd.perform.syscall_result import Signals, SyscallResult
from notifyd.perform.taken_socket import MAX_UNIX, protocol_of
from notifyd.perform.unix import CAP_PTRACE_BIT, UnixPlace
from notifyd.policy.address import MAX_ADDRESS
from notifyd.policy.call import Call
from notifyd.policy.changed import check_changes
from notifyd.policy.operations import Bind, Connect, SendTo
from notifyd.policy.verdicts import Allow, Grants
from notifyd.target.thread import StoppedThread

_WAY_OUT = "decide from registers, or return Continue() to observe"
_WAYS_OUT = {
    "Chdir": "the working directory is the target's own: return Continue(), and judge the paths "
    "of later calls, which are resolved from where it is",
}

Prepare: TypeAlias = "Callable[[Any, Taken], Callable[[], SyscallResult]]"


class Taken(NamedTuple):
    """What was taken from the target, and who owns it.

    Attributes:
        task: a pidfd of its thread.
        socket: its socket.
        creds: who it is.
        sender: the same, as a receiver of its messages may know it.
        local: whether the socket is of AF_UNIX.
        place: the path that a rule judged or changed; None if it did neither, or there is none.
    """

    task: int
    socket: int
    sender: Sender
    local: bool
    place: UnixPlace | None
    stack: ExitStack


@dataclass(slots=True)
class SocketCall:
    """One call, ready to be done in a thread: everything is copied or opened already.

    Attributes:
        act: does it.
        check: raises TargetGone if the target is no longer in its call.
        creds: who to be.
        directory: the open /proc/TID of the target, where its root and cwd are needed.
        grant: the power that the rule lends, by name.
        pipe: the target's thread (pidfd), which gets SIGPIPE where the kernel would send it.
        again: whether a handler with SA_RESTART begins the call again: signal(7).
        stage: where an AF_UNIX path is bound, if it is.
        sender: whose name it is done in, if a message says so, and `tid` the target's thread.
    """

    act: Callable[[], SyscallResult]
    check: Callable[[], None]
    creds: Credentials
    directory: int | None
    grant: Grants
    pipe: int | None
    again: bool
    stage: Stage | None
    sender: Sender | None
    tid: int
    owned: ExitStack = field(default_factory=ExitStack)

    def __call__(self) -> SyscallResult:
        """Do it. Runs in a thread of its own, which ends with it; closes what is owned."""
        with self.owned:
            if self.stage is not None:
                self.stage.build()
            kept = self.stage.powers if self.stage is not None else 0
            if self.directory is not None:
                kept |= CAP_PTRACE_BIT
            if self.sender is not None:
                kept |= POWERS
                self.sender.hold(self.tid)
            change = self.creds.change(self.grant, kept)
            if self.directory is not None:
                enter(self.directory, self.creds.umask)
            change()
            # Invariant: no effect before the id is known to be valid.
            self.check()
            try:
                return self.act()
            except OSError as error:
                if error.errno == errno.EPIPE and self.pipe is not None:
                    _send_sigpipe(self.pipe)
                return SyscallResult(0, error.errno or errno.EIO)


async def perform(call: Call, verdict: Allow, closing: Closing) -> SyscallResult:
    """Do a call for its target.

    Args:
        call: what the rule saw.
        verdict: what it said.
        closing: of the workload.

    Returns:
        The value or errno that the kernel gave.

    Raises:
        CannotPerform: notifyd cannot do this call for this target; the text says why.
        TargetGone: the target is no longer in its call.
        TargetFault: a pointer of the call cannot be read.
    """
    prepare = THREAD_PERFORMERS.get(type(call))
    if prepare is None:
        raise CannotPerform(
            f"{call.operation} cannot be performed, and the rule looked at memory or asked for a "
            f"change; {_WAYS_OUT.get(call.operation, _WAY_OUT)}"
        )
    if verdict.changes.keys() - ({"path"} if isinstance(call, Bind | Connect) else set()):
        raise CannotPerform(f"{call.operation} cannot be changed: {', '.join(verdict.changes)}")
    if verdict.changes:
        check_changes(call, verdict.changes)
    granted(verdict.grant)
    closing.check_room()
    stack = ExitStack()
    try:
        performed = _socket_call(call, prepare, verdict, stack)
    except BaseException:
        # What was taken is mostly a socket, but may be a file that somebody serves.
        await closing.run(stack.close)
        raise
    # The kernel would end the call for a signal that the target does not block.
    signals = Signals(call.process.tid)
    try:
        done = await worker.run(performed, disturbed=signals, to_its_end=True)
    except OSError:
        await closing.run(stack.close)  # it was not begun; otherwise nothing is left to close
        raise
    return signals.interrupted() if done.errno == errno.EINTR and performed.again else done


def _socket_call(call: Any, prepare: Prepare, verdict: Allow, stack: ExitStack) -> SocketCall:
    """Open and copy all that the deed needs, while the target stands still; `stack` owns it."""
    thread: StoppedThread = call.target
    try:
        directory = proc.open_dir(thread.tid)
        stack.callback(os.close, directory)
        creds, sender = Credentials.of(directory), Sender.of(directory)
        protocol_of(thread.tid, call.fd)  # it is a socket
        task = thread.open()
        stack.callback(os.close, task)
        sock = pidfd.get_fd(task, call.fd)
        stack.callback(os.close, sock)
        keep_spare(sock)
    except OSError as error:
        raise thread.failure(error) from error
    # Invariant: nothing that was opened by a thread id is used before ID_VALID held.
    thread.check()
    local = _domain(sock) == socket_module.AF_UNIX
    place = None
    if local:
        place = _place(call, verdict, directory, stack)
    elif verdict.changes:
        raise CannotPerform("path: the socket is none of AF_UNIX, and has no path")
    act = prepare(call, Taken(task, sock, sender, local, place, stack))
    pipe = task if isinstance(call, SendTo) and not call.flags & raw.NOSIGNAL else None
    where = directory if place is not None else None
    again = raw.sends_for_ever(sock)
    stage = place.stage if place is not None and isinstance(call, Bind) else None
    named = sender if isinstance(call, SendTo) else None
    # fmt: off
    return SocketCall(
        act, thread.check, creds, where, verdict.grant, pipe, again, stage, named, thread.tid,
        stack,
    )
    # fmt: on


def _place(call: Any, verdict: Allow, directory: int, stack: ExitStack) -> UnixPlace | None:
    """What the address of an AF_UNIX socket's call leads to; None if that is no path."""
    # Without one, nobody enters the target's root: sandboxes leave theirs where nothing is.
    if isinstance(call, SendTo) and not any(one and _is_path(one.raw) for one in call.addresses):
        return None
    if not (isinstance(call, SendTo) or verdict.changes) and call.addrlen > MAX_UNIX:
        return None  # the kernel refuses it, and knows best how
    try:
        return UnixPlace.of(call, directory, stack)
    except OSError as error:
        raise call.target.failure(error) from error


def _domain(descriptor: int) -> int:
    try:
        return raw.socket_info(descriptor)[0]
    except OSError as error:  # no socket, or opened with O_PATH: the target's mistake
        raise TargetFault(str(error), error.errno or errno.EIO) from error


def _address(call: Any) -> bytes:
    """The address that the rule saw, and no other."""
    if not 0 <= call.addrlen <= MAX_ADDRESS:
        raise TargetFault("no address is that long", errno.EINVAL)
    return call.address.raw if call.address is not None else b""


def _connect(call: Connect, taken: Taken) -> Callable[[], SyscallResult]:
    return _reach(call, taken, raw.connect, makes=False)


def _bind(call: Bind, taken: Taken) -> Callable[[], SyscallResult]:
    return _reach(call, taken, raw.bind, makes=True)


def _reach(
    call: Connect | Bind, taken: Taken, function: Callable[[int, bytes], None], *, makes: bool
) -> Callable[[], SyscallResult]:
    """Do what takes a socket and an address; `makes` says whether it makes the path in it."""
    address = _address(call)

    def act() -> SyscallResult:
        if taken.place is not None:
            taken.place.reach(partial(function, taken.socket), makes=makes)
        else:
            function(taken.socket, address)
        return SyscallResult(0)

    return act


def _send(call: SendTo, taken: Taken) -> Callable[[], SyscallResult]:
    whole = raw.socket_info(taken.socket)[1] != socket_module.SOCK_STREAM
    messages = copy_messages(call, taken.task, taken.sender, taken.stack, whole=whole)
    flags = message_flags(call, taken.socket)
    # AF_UNIX tells the real ids otherwise, which are ours.
    sender = taken.sender.said() if taken.local else b""

    def act() -> SyscallResult:
        sizes: list[int] = []
        try:
            for one in messages:
                sizes.append(_send_one(taken, one, flags, sender))  # noqa: PERF401 counts, also before a failure
        except OSError:
            if not sizes:  # sendmmsg(2) fails only if the first message does
                raise
        if not call.is_several:
            return SyscallResult(sizes[0])
        return SyscallResult(len(sizes), memory=_sizes(call, sizes))

    return act


def _send_one(taken: Taken, one: Message, flags: int, sender: bytes) -> int:
    def act(address: bytes | None) -> int:
        # Of two senders that are named the last one counts.
        control = sender + one.control
        with in_effect(POWERS) if control else nullcontext():
            return raw.sendmsg(taken.socket, one.pieces, flags, address, control)

    address = one.address
    if taken.place is not None and address is not None and _is_path(address):
        return taken.place.send(act, address)
    return act(address)


def _is_path(address: bytes) -> bool:
    """Whether an address is a path of AF_UNIX that the kernel would look up."""
    family = int.from_bytes(address[:2], "little")
    return (
        family == socket_module.AF_UNIX
        and address[2:3] not in (b"", b"\0")
        and len(address) <= MAX_UNIX
    )


def _sizes(call: SendTo, sizes: list[int]) -> tuple[tuple[int, bytes], ...]:
    """What sendmmsg(2) writes into mmsghdr.msg_len, by address."""
    header, stride = (56, 64) if call.word_size == 8 else (28, 32)
    return tuple(
        (call.message + at * stride + header, size.to_bytes(4, "little"))
        for at, size in enumerate(sizes)
    )


def _send_sigpipe(task: int) -> None:
    try:
        pidfd.send_signal(task, signal.SIGPIPE)
    except ProcessLookupError as error:
        raise TargetGone("the target is gone") from error


THREAD_PERFORMERS: Mapping[type[Call], Prepare] = MappingProxyType(
    {Connect: _connect, Bind: _bind, SendTo: _send}
)
