"""Who a thread is, for events: process, start, executable, user. Cached while it cannot change.

A thread's entry is good while its pidfd lives and it has not begun to change itself. Changing means
execve(2) and the setuid(2) family, of which the supervisor is told when the filter watches them.
The notification comes before the change and the thread's own next call after it; between the two,
an exec may or may not have happened, and nothing is cached.
"""

from __future__ import annotations

import errno
import os
import select
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from signal import pidfd_send_signal

from notifyd.errors import TargetGone
from notifyd.kernel import pidfd, proc

IDENTITY_CACHE_SIZE = 512  # threads; each costs a descriptor


@dataclass(frozen=True, slots=True)
class Identity:
    """A thread and its process, in the supervisor's namespaces.

    Attributes:
        pid: the thread group.
        tid: the thread.
        ppid: the parent's thread group.
        start: clock ticks from boot to the process's start.
        exe: the executable's path as the kernel names it.
        uid: the effective user id.
        gid: the effective group id.
        who: executable as text, user and process, as events tell them.
    """

    pid: int
    tid: int
    ppid: int
    start: int
    exe: bytes
    uid: int
    gid: int
    who: tuple[str | None, int, str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Made once, since an event tells it for every call: exe, uid, and `PID@START`.
        exe = self.exe.decode("utf-8", "backslashreplace") or None
        object.__setattr__(self, "who", (exe, self.uid, f"{self.pid}@{self.start}"))


def read_identity(tid: int) -> Identity:
    """Read /proc/TID. The caller checks afterwards that the thread is still its target.

    Raises:
        OSError: ENOENT or ESRCH: it is gone.
    """
    directory = proc.open_dir(tid)
    try:
        status = proc.read_status(directory, groups=False)
        start = _process_start(directory, status.tgid)
        try:
            exe = proc.exe(directory)
        except OSError:
            exe = b""  # a zombie leader, or closed to us; the rest still names it
    finally:
        os.close(directory)
    return Identity(status.tgid, tid, status.ppid, start, exe, status.uid[1], status.gid[1])


def _process_start(directory: int, pid: int) -> int:
    """When the process of the thread behind `directory` began: its leader, not this thread."""
    leader = os.open(f"task/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return proc.start_time(proc.read_stat(leader))
    finally:
        os.close(leader)


class Identities:
    """The identities of a workload's threads.

    Args:
        watched: whether we are told of every call in `watch.IDENTITY`. If not, nothing is cached.

    Attributes:
        entries: pidfd and identity by thread id, for the hot path's own short cut; see `of`.
        executing: by process, its threads that are about to exec; only `of` knows then.
    """

    def __init__(self, *, watched: bool) -> None:
        self._watched = watched
        self.entries: OrderedDict[int, tuple[int, Identity]] = OrderedDict()
        self.executing: dict[int, set[int]] = {}

    def of(self, tid: int) -> Identity:
        """The identity of a target; the caller's notification must be valid afterwards.

        Raises:
            TargetGone: it is gone.
        """
        entry = self.entries.get(tid)
        if entry is not None:
            descriptor, identity = entry
            if not self.executing or identity.pid not in self.executing:
                try:
                    pidfd_send_signal(descriptor, 0)  # hot: not through kernel.pidfd
                except ProcessLookupError:
                    pass
                except PermissionError:
                    return identity
                else:
                    return identity
            self.forget(tid)
        return self._read(tid)

    def keeps(self, tid: int, identity: Identity) -> bool:
        """Whether `of` will give this very object as long as nothing of the thread changes."""
        entry = self.entries.get(tid)
        return entry is not None and entry[1] is identity

    def changing(self, identity: Identity, *, execs: bool) -> None:
        """This target is about to make one of the calls in `watch.IDENTITY`.

        To be said after the last `of` for its notification.
        """
        if execs and self._watched:
            self._prune_executing()
            self.executing.setdefault(identity.pid, set()).add(identity.tid)
        self.forget(identity.tid)

    def forget(self, tid: int) -> None:
        """Drop what is known of a thread."""
        entry = self.entries.pop(tid, None)
        if entry is not None:
            os.close(entry[0])

    def prune(self) -> None:
        """Drop the dead: a pidfd keeps the number, and the pid namespace that it is of."""
        poll = select.poll()
        tids = {entry[0]: tid for tid, entry in self.entries.items()}
        for descriptor in tids:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(0) if tids else ():
            self.forget(tids[descriptor])

    def close(self) -> None:
        """Drop everything."""
        for tid in list(self.entries):
            self.forget(tid)

    def _read(self, tid: int) -> Identity:
        for _ in range(2):
            try:
                return self._look(tid)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise TargetGone("the target is gone") from error
                self.close()  # what is kept for speed alone goes first
        raise TargetGone("there is no descriptor left to look at the target with")

    def _look(self, tid: int) -> Identity:
        # The pidfd first: what is read after it belongs to the thread that it names, as long as it
        # lives.
        descriptor = self._pidfd(tid) if self._watched else -1
        try:
            identity = read_identity(tid)
        except OSError:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        if descriptor >= 0 and self._settled(identity):
            self.entries[tid] = descriptor, identity
            self._prune()
        elif descriptor >= 0:
            os.close(descriptor)
        return identity

    def _pidfd(self, tid: int) -> int:
        try:
            return pidfd.open_thread(tid)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return -1  # before Linux 6.9, a thread that is no leader: read it every time

    def _prune(self) -> None:
        """Look at the two oldest entries: the dead go, so that there are never many of them."""
        for tid in list(islice(self.entries, 2)):
            if len(self.entries) > IDENTITY_CACHE_SIZE or not pidfd.alive(self.entries[tid][0]):
                self.forget(tid)
            else:
                self.entries.move_to_end(tid)

    def _prune_executing(self) -> None:
        """The same of the processes that were about to exec, and may never have called again."""
        for pid in list(islice(self.executing, 2)):
            threads = self.executing.pop(pid)
            if os.path.exists(f"/proc/{pid}"):
                self.executing[pid] = threads

    def _settled(self, identity: Identity) -> bool:
        """Whether no exec of the process can still be under way."""
        threads = self.executing.get(identity.pid)
        if threads is None:
            return True
        # A thread that was about to exec calls again (the exec failed, or it led the process), or
        # is no more (it took the leader's place): over. Else the leader may be the old program yet.
        for thread in list(threads):
            if thread == identity.tid or not os.path.exists(f"/proc/{identity.pid}/task/{thread}"):
                threads.discard(thread)
        if threads:
            return False
        del self.executing[identity.pid]
        for tid in [t for t, (_, other) in self.entries.items() if other.pid == identity.pid]:
            self.forget(tid)
        return True
