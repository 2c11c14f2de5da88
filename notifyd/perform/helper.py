"""A helper: a process that is in a target's context and does requests until its channel closes.

It has the target's root, namespaces, file-system ids and capabilities; where it can come home
again, for one request at a time (`travel`). Its memory and descriptors are closed to the target: it
is not dumpable, and its real user id stays ours, so that a target with another user id can neither
trace nor signal it (but for one call at a time: `apart.as_one_user`). It blocks wherever it has to;
the supervisor gives its next request to another one, or kills it.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, namespaces, prctl, proc, unix
from notifyd.perform.credentials import Credentials
from notifyd.perform.execute import Executor
from notifyd.perform.helper_request import HelperReply, HelperRequest, Need
from notifyd.perform.placement import HelperPlan
from notifyd.perform.travel import Traveller, powers
from notifyd.perform.watched_processes import WatchedProcesses
from notifyd.perform.worker import NUDGE

__all__ = ["CLOSED", "MAX_REQUEST_BYTES", "MAX_REQUEST_FDS", "READY", "serve"]

MAX_REQUEST_BYTES = 1 << 17  # bytes; an attribute of 64 KiB is the longest thing that is sent
MAX_REQUEST_FDS = 8
ALL_CAPABILITIES = (1 << 64) - 1  # capabilities; as many as there are to be had
READY = b"ready"
CLOSED = b"."  # in the place of a reply: a descriptor was given, and is open here no more


def serve(channel: socket.socket, plan: HelperPlan, fds: Sequence[int]) -> None:
    """Become what the plan says, tell so, and do requests until the other end is closed.

    Called in a process of its own with one thread, which ends afterwards.

    Args:
        channel: SOCK_SEQPACKET to the supervisor.
        plan: what to become.
        fds: where it joins a user namespace for good: a pidfd of the target's thread, its root,
            and a pidfd of a process that is there as long as anybody, as far as is known.
    """
    signal.signal(NUDGE, lambda *_: None)  # ends a call that waits, and nothing else
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {NUDGE})
    tty = proc.terminal(_own_stat()), os.getsid(0)
    own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _become(plan, fds, own)
        traveller = Traveller(plan, own) if plan.travels else None
        company = WatchedProcesses(channel, fds[2]) if plan.stays else None
    except (CannotPerform, OSError) as error:
        channel.send(str(error).encode() or b"?")
        return
    for fd in fds[:2]:
        os.close(fd)
    gifts, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        unix.post_fds(channel, READY, theirs.fileno())
    _work(channel, gifts, _RequestLoop(Executor(own, tty, whole=plan.whole), traveller, company))


def _own_stat() -> bytes:
    directory = proc.open_dir(os.getpid())
    try:
        return proc.read_stat(directory)
    finally:
        os.close(directory)


def _become(plan: HelperPlan, fds: Sequence[int], own: int) -> None:
    prctl.set_keep_caps(True)
    creds = Credentials(*plan.ids, plan.groups, plan.capabilities, 0)
    # Before joining: in another user namespace an id may have no name, and setgroups(2) may be
    # denied. The powers are kept until all is done that needs them.
    replace(creds, capabilities=ALL_CAPABILITIES).put_on(Credentials.own(), 0)
    if plan.stays:
        namespaces.join(fds[0], plan.join)
        if plan.enter:
            os.fchdir(fds[1])
            os.chroot(".")
    os.fchdir(own)
    kept = powers(plan)
    creds.put_on(creds, 0, kept)
    held = capability.get(0)
    if held.effective & ~plan.capabilities or held.permitted & ~(plan.capabilities | kept):
        raise CannotPerform("powers that the target lacks could not be given up")
    # After the ids, which change both: prctl(2), PR_SET_DUMPABLE and PR_SET_PDEATHSIG.
    prctl.set_dumpable(False)
    prctl.set_no_new_privs()
    prctl.set_pdeathsig(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _RequestLoop:
    """Where a helper does its requests."""

    def __init__(
        self, executor: Executor, traveller: Traveller | None, company: WatchedProcesses | None
    ) -> None:
        self._executor = executor
        self._traveller = traveller
        self._company = company
        self._decode = msgspec.msgpack.Decoder(HelperRequest).decode

    def wait(self) -> None:
        """Wait for a request, if there is anybody else to look after meanwhile."""
        if self._company is not None:
            self._company.wait()

    def do(self, data: memoryview, fds: Sequence[int]) -> tuple[HelperReply, int | None]:
        """Do a request; closes the descriptors that came along."""
        away, way = self._traveller, fds[len(fds) - 2 :]
        try:
            if away is not None:
                fds = fds[:-2]
                away.go(way)
            return self._executor.run(self._decode(data), fds)
        except CannotPerform as error:
            away = None
            return HelperReply(need=Need.CANNOT, text=str(error)), None
        except Exception as error:
            text = f"the helper failed: {error!r}"
            return HelperReply(errno=errno.EPERM, need=Need.CANNOT, text=text), None
        finally:
            for fd in fds:
                os.close(fd)
            if away is not None:
                away.come_home()

    def remember(self, data: memoryview) -> None:
        """The request is answered; note who it was for."""
        if self._company is not None:
            self._company.add(self._decode(data).pid)


def _work(channel: socket.socket, gifts: socket.socket, loop: _RequestLoop) -> None:
    encode = msgspec.msgpack.Encoder().encode
    buffer = bytearray(MAX_REQUEST_BYTES)
    view = memoryview(buffer)
    while True:
        loop.wait()
        try:
            size, fds, _ = unix.recv_fds_into(channel, buffer, MAX_REQUEST_FDS)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            return
        if not size:
            return
        reply, result = loop.do(view[:size], fds)
        if result is None:
            channel.send(encode(reply))
        else:
            # By a way of its own, where nobody waits: who is woken by it would only wait once more.
            try:
                unix.post_fds(gifts, CLOSED, result)
            finally:
                os.close(result)
            # Invariant: whoever hears this knows that nothing is open here any more.
            channel.send(CLOSED)
        loop.remember(view[:size])
