"""A helper: a process that is in a target's context and does orders until its channel closes.

It has the target's root, namespaces, file-system ids and capabilities. Its memory and descriptors
are closed to the target: it is not dumpable, and its real user id stays ours, so that a target with
another user id can neither trace nor signal it (but for one call at a time: `apart.as_one_user`).
It blocks wherever it has to; the supervisor gives
its next order to another one, or kills it.
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
from notifyd.perform.execute import Executor
from notifyd.perform.order import Order, Reply
from notifyd.perform.persona import Persona
from notifyd.perform.worker import NUDGE

__all__ = ["CLOSED", "MAX_FDS", "MAX_ORDER", "READY", "Plan", "serve"]

MAX_ORDER = 1 << 17  # bytes; an attribute of 64 KiB is the longest thing that is sent
MAX_FDS = 6
EVERY = (1 << 64) - 1  # capabilities; as many as there are to be had
READY = b"ready"
CLOSED = b"."  # in the place of a reply: a descriptor was given, and is open here no more


class Plan(msgspec.Struct, array_like=True, frozen=True):
    """What a helper shall be.

    Attributes:
        join: flags of the namespaces to join.
        ids: euid, fsuid, egid, fsgid as our user namespace sees them.
        groups: supplementary groups.
        capabilities: effective ones, of the user namespace that it ends up in.
        enter: whether the root has to be entered.
        whole: whether the target's real and saved ids are these too.
    """

    join: int
    ids: tuple[int, int, int, int]
    groups: tuple[int, ...]
    capabilities: int
    enter: bool
    whole: bool = False


def serve(channel: socket.socket, plan: Plan, fds: Sequence[int]) -> None:
    """Become what the plan says, tell so, and do orders until the other end is closed.

    Called in a process of its own with one thread, which ends afterwards.

    Args:
        channel: SOCK_SEQPACKET to the supervisor.
        plan: what to become.
        fds: a pidfd of the target, its open /proc/TID, and its root.
    """
    signal.signal(NUDGE, lambda *_: None)  # ends a call that waits, and nothing else
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {NUDGE})
    tty = proc.terminal(_own_stat()), os.getsid(0)
    own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _become(plan, fds, own)
    except (CannotPerform, OSError) as error:
        channel.send(str(error).encode() or b"?")
        return
    for fd in fds:
        os.close(fd)
    gifts, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        unix.post_fds(channel, READY, theirs.fileno())
    _work(channel, gifts, Executor(own, tty, whole=plan.whole))


def _own_stat() -> bytes:
    directory = proc.open_dir(os.getpid())
    try:
        return proc.read_stat(directory)
    finally:
        os.close(directory)


def _become(plan: Plan, fds: Sequence[int], own: int) -> None:
    pidfd, _, root = fds
    prctl.set_keep_caps(True)
    persona = Persona(*plan.ids, plan.groups, plan.capabilities, 0)
    # Before joining: in another user namespace an id may have no name, and setgroups(2) may be
    # denied. The powers are kept until all is done that needs them.
    replace(persona, capabilities=EVERY).put_on(Persona.own(), 0)
    if plan.join:
        namespaces.join(pidfd, plan.join)
    if plan.enter:
        os.fchdir(root)
        os.chroot(".")
    os.fchdir(own)
    persona.put_on(persona, 0)
    held = capability.get(0)
    if held.effective & ~plan.capabilities or held.permitted & ~plan.capabilities:
        raise CannotPerform("powers that the target lacks could not be given up")
    # After the ids, which change both: prctl(2), PR_SET_DUMPABLE and PR_SET_PDEATHSIG.
    prctl.set_dumpable(False)
    prctl.set_no_new_privs()
    prctl.set_pdeathsig(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _work(channel: socket.socket, gifts: socket.socket, executor: Executor) -> None:
    decode = msgspec.msgpack.Decoder(Order).decode
    encode = msgspec.msgpack.Encoder().encode
    buffer = bytearray(MAX_ORDER)
    view = memoryview(buffer)
    while True:
        try:
            size, fds, _ = unix.recv_fds_into(channel, buffer, MAX_FDS)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            return
        if not size:
            return
        result: int | None = None
        try:
            reply, result = executor.run(decode(view[:size]), fds)
        except Exception as error:
            reply = Reply(errno=errno.EPERM, need=4, text=f"the helper failed: {error!r}")
        finally:
            for fd in fds:
                os.close(fd)
        if result is None:
            channel.send(encode(reply))
            continue
        # By a way of its own, where nobody waits: who is woken by it would only wait once more.
        try:
            unix.post_fds(gifts, CLOSED, result)
        finally:
            os.close(result)
        # Invariant: whoever hears this knows that nothing is open here any more.
        channel.send(CLOSED)
