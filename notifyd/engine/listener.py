"""A listener: its rules, its counts, and the calls of it that wait.

Owns the listener. Knows nothing of the loop that drives it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING

import trio

from notifyd.engine.answer import CAUSES, Answerer, Response, cause_of
from notifyd.engine.fast_answer import FastAnswerer
from notifyd.engine.fast_plan import fast_plan
from notifyd.engine.in_flight import InFlightTable
from notifyd.engine.report import Reporter
from notifyd.errors import TargetGone
from notifyd.events.stream import EventStream
from notifyd.kernel.arch import ARCHES, native
from notifyd.kernel.process_vm import read_string
from notifyd.kernel.unotify import Notifier
from notifyd.perform.files import Files
from notifyd.perform.self_performed import NEEDED, SelfPerformed
from notifyd.perform.worker import ThreadPool
from notifyd.policy.bound import BoundCall
from notifyd.policy.call import ARCH, ID, NR, PID, Call, Note
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.verdicts import Allow
from notifyd.target.digests import Digests
from notifyd.target.identity import Identities, Identity
from notifyd.target.non_blocking import MayBlock, NonBlockingThread
from notifyd.target.reader import Readers
from notifyd.target.thread import StoppedThread
from notifyd.target.watch import IDENTITY, LAZINESS, Change, Watched

if TYPE_CHECKING:
    from notifyd.approvals.queue import Approver

_NOTHING: frozenset[Change] = frozenset()
_ANYWAY = frozenset({Change.NONE})


class Listener:
    """The notify descriptor, with its rules and counts.

    Args:
        name: its id, in events.
        descriptor: the notify descriptor; owned from here on.
        rules: what decides its calls.
        reporter: who is told what happened.
        watched: what the filter notifies of for our own sake: it goes on if no rule decides.
        reported: what of that the filter is known to report whenever it happens; by default all.
        killable: whether the filter was installed with WAIT_KILLABLE_RECV: nothing but what kills
            disturbs a call that was received.
        leads: whether the filter lets `NEEDED` by, where no rule is about that.
        queue: where a person is asked; None if nobody can be.
        in_flight: where calls are on record for a successor; owned from here on.
        section: the part of a configuration that it is under, for the person who is asked.
        notifier: how `descriptor` is received from and answered, where that is not by its ioctls.
        served: asked before memory is touched, as `NonBlockingThread` does, whether it may make
            that wait though no call of the workload has made it so. None if it never does.
        alone: whether no other workload has to wait for what this one makes the loop wait for.
    """

    def __init__(
        self,
        name: str,
        descriptor: int,
        rules: RuleSet,
        reporter: Reporter,
        *,
        watched: Sequence[Watched] = (),
        reported: Sequence[Watched] | None = None,
        killable: bool = False,
        leads: bool = True,
        notifier: Notifier | None = None,
        queue: Approver | None = None,
        section: str = "",
        in_flight: InFlightTable | None = None,
        served: MayBlock | None = None,
        alone: bool = False,
    ) -> None:
        self.name = name
        self.queue = queue
        self.section = section
        self.descriptor = descriptor
        self.reporter = reporter
        self.notifier = notifier or Notifier(descriptor)
        self.poll, self.receive = self.notifier.poll, self.notifier.receive
        self.in_flight = in_flight
        if in_flight is not None:
            self.receive = in_flight.receiver(descriptor)
        self.left = False  # whether calls that wait are left to a successor
        self.respond = self.notifier.respond
        self.id_valid = self.notifier.id_valid
        self.answerer = Answerer(self.notifier)
        known = set(watched if reported is None else reported)
        self.identities = Identities(watched=set(IDENTITY) <= known)
        self.identify = self.identities.of
        self.files = Files(self.identities)
        self.digests = Digests()
        self.crew = ThreadPool()
        self.watched = _by_number(watched)
        self.killable = killable
        self._leads = leads
        self.itself = SelfPerformed(killable=killable)
        self.shared = False  # whether somebody else turned out to read the listener, too
        self.may_block = False
        self._served = served
        self._alone = alone
        self._readers = Readers()
        self.held = ""  # why everything is refused that would be allowed; "" where it is not
        self._told_of_laziness = set(LAZINESS) <= known
        self.unobserved = reporter.unobserved
        self._plainly = FastAnswerer(name, self.notifier, self.identities, reporter)
        self.record(reporter.audit)
        self.waiting: dict[int, trio.CancelScope] = {}
        self.attended = 0  # calls that have a task
        self.ended = trio.Event()
        self.sync_wake_up = self.notifier.set_sync_wake_up()
        self.use(rules)

    def use(self, rules: RuleSet) -> None:
        """Decide with `rules` from the next call on; calls under way finish with what they have."""
        self.rules = rules
        self.plans = rules.plans
        # What our own program does not let by, whatever it says of it.
        own = native()
        needed = {(own.audit, own.numbers.get(name, -1)) for name in NEEDED}
        self.itself.allowed = self._leads and needed.isdisjoint(rules.plans)
        # Unless we are told of the calls that make it so, memory may wait for ever already.
        self.may_block = self.may_block or (bool(rules.rules) and not self._told_of_laziness)
        self.fast_plans = {
            number: fast
            for (audit, number), steps in rules.plans.items()
            if audit == native().audit
            and not self.held
            and (audit, number) not in self.watched  # those need a second look
            and (fast := fast_plan(audit, steps)) is not None
        }

    def hold(self, reason: str) -> None:
        """Refuse (EPERM) from the next call on what would be allowed; with no reason, do not."""
        self.held = reason
        if reason:
            self.fast_plans.clear()  # in place: the hot loop has it at hand
        else:
            self.use(self.rules)

    def record(self, audit: EventStream | None) -> None:
        """Write calls down from the next one on, or only count them. Not for a silent reporter."""
        self.reporter.audit = audit
        # It is chosen here, so that a call need not ask.
        plainly = self._plainly
        self.answer_plainly = plainly.counted if audit is None else plainly.recorded

    def target(self, note: Note) -> StoppedThread:
        """The stopped thread behind `note`."""
        if self._served is None and not self.may_block:
            return StoppedThread(note, self.notifier, self.digests)
        return NonBlockingThread(
            note, self.notifier, self.digests, self._readers, self.read_may_block
        )

    def read_may_block(self, tid: int, address: int, size: int) -> bool:
        """Whether memory of a thread may make whoever touches it wait.

        Args as of `NonBlockingThread`.
        """
        return self.may_block or (self._served is not None and self._served(tid, address, size))

    def socket_may_be_locked(self, tid: int) -> bool:
        """Whether another call may have locked a socket of a thread for long."""
        # A call that sends locks its socket, and reads memory meanwhile, which somebody may serve.
        return not self._alone or self.read_may_block(tid, 0, 0)

    def read_string(self, call: BoundCall, address: int, limit: int) -> bytes:
        """A string of a call's target, as `StoppedThread.read_string` reads it."""
        if self.may_block or (
            self._served is not None and self._served(call.note[PID], address, 1)
        ):
            return call.target.read_string(address, limit)
        note = call.note
        try:
            data = read_string(note[PID], address, limit)
        except OSError as error:
            raise self.target(note).failure(error) from error
        # Invariant: what was read from a target counts only if ID_VALID held after the last read.
        if not self.id_valid(note[ID]):
            raise TargetGone("the target is no longer in its call")
        return data

    def performs(self, call: Call, verdict: Allow) -> bool:
        """Whether a call is performed by `files`, and cannot be done by its target itself."""
        return self.files.takes(call) and not self.itself.fits(call, verdict)

    def named(self, note: Note, call: Call | None) -> tuple[str, str]:
        """Operation and system call, for events."""
        if call is not None:
            return call.operation, call.syscall
        steps = self.plans.get((note[ARCH], note[NR]))
        if steps:
            return steps[0].operation.title, steps[0].variant.syscall
        arch = ARCHES.get(note[ARCH])
        return "Raw", (arch.name_of(note[NR]) if arch else None) or f"syscall {note[NR]}"

    def note_change(self, note: Note, identity: Identity | None) -> None:
        """Notice that a call changes what is known of its target; said when it is answered.

        Args:
            note: any call.
            identity: whose it is, where that was asked for.
        """
        watched = self.watched.get((note[ARCH], note[NR]))
        if watched is None:
            return
        changes = {one.change for one in watched}
        if changes.isdisjoint((Change.EXECUTABLE, Change.IDS)):
            return
        with contextlib.suppress(TargetGone):
            known = identity if identity is not None else self.identities.of(note[PID])
            self.identities.changing(known, execs=Change.EXECUTABLE in changes)

    def before_decision(self, note: Note) -> frozenset[Change]:
        """Notice before a call is decided what may be different after it.

        Returns:
            What we wanted to be told of it for; nothing for most calls.
        """
        watched = self.watched.get((note[ARCH], note[NR]))
        if watched is None:
            return _NOTHING
        changes = frozenset(one.change for one in watched if one.concerns(note))
        if Change.MAY_BLOCK in changes:
            self.may_block = True
            self.files.mounts_change()
            self.digests.mounts_changed()
        if Change.PLACE in changes:
            self.files.places_change()
        return changes | _ANYWAY

    def go_on(self, note: Note, changes: frozenset[Change]) -> None:
        """Let a call go on that no rule named, and that is notified for our own sake only."""
        if Change.CONFINED in changes:
            # What a thread forbids itself, performing would allow it again: landlock(7).
            self.answerer.refuse(note, "deny", errno.EOPNOTSUPP, None)
        else:
            self.answerer.go_on(note, "allow", None)
        self.note_change(note, None)

    def broke(self, note: Note, error: Exception) -> None:
        """An error of notifyd itself: it is told, and the call is refused if it still waits."""
        cause, begun = cause_of(error), clock()
        if cause == "short":
            self.reporter.failed("notifyd", f"{CAUSES[cause]}: {error}")
        else:
            self.reporter.broke(error, workload=self.name)
        sent = False
        with contextlib.suppress(OSError):  # it may have its answer already: EINPROGRESS
            sent = self.notifier.respond(note[ID], 0, -errno.EPERM, 0)
        if not sent or self.unobserved:
            return  # what its target got was told, or is not known any more
        why = f"{CAUSES[cause]}: {error!r}"
        response = Response("deny", "answered", errno.EPERM, reason=why, cause=cause)
        with contextlib.suppress(Exception):  # it may be the telling that fails
            self.reporter.call(self.name, note, begun, self.named(note, None), response)

    def enter(self) -> None:
        """A call is given a task; `leave` says that it is over."""
        self.attended += 1

    def leave(self) -> None:
        """The task of a call is over, and the call told."""
        self.attended -= 1
        self._settle()

    def wait(self, identifier: int, scope: trio.CancelScope) -> None:
        """The task of a call begins, which `scope` cancels when nobody is there to be answered."""
        self.waiting[identifier] = scope
        if self.descriptor < 0:  # all were cancelled before this one had begun
            scope.cancel()

    def _settle(self) -> None:
        # Invariant: it has ended when the last of its calls is told and counted, not before.
        if self.descriptor < 0 and not self.attended:
            self.ended.set()

    def close(self) -> None:
        """Let go of the listener: what calls from now on gets ENOSYS (seccomp_unotify(2))."""
        if self.descriptor >= 0:
            self.notifier.close()
            self.respond = self.notifier.respond
            os.close(self.descriptor)
            self.descriptor = -1
            self.files.close()
            self.itself.close()
            self.identities.close()
            self._readers.close()
            if self.in_flight is not None:
                self.in_flight.close()
            self._settle()


def _by_number(watched: Sequence[Watched]) -> Mapping[tuple[int, int], tuple[Watched, ...]]:
    found: dict[tuple[int, int], tuple[Watched, ...]] = {}
    for arch in ARCHES.values():
        for one in watched:
            if one.syscall in arch.numbers:
                key = arch.audit, arch.numbers[one.syscall]
                found[key] = (*found.get(key, ()), one)
    return found
