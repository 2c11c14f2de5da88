"""What the engine tells of its work: counts always, records where somebody reads them."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Mapping
from time import perf_counter_ns as clock
from typing import Any

from notifyd.engine.answer import Response
from notifyd.events.counters import Counters
from notifyd.events.log import json_logger, terminal_logger
from notifyd.events.record import CallRecord
from notifyd.events.stream import EventStream
from notifyd.events.terminal import Failures, Refusals
from notifyd.kernel.arch import arch_name
from notifyd.policy.call import ARCH, PID, Note
from notifyd.target.identity import Identity


class Reporter:
    """Where answered calls go.

    Args:
        audit: the event log, or None. A workload's may change (`Listener.record`).
        refusals: what shows refused calls to a person, or None.
        failures: what shows that rules fail, where refused calls are not shown, or None.
        counts: whether somebody asks for the counts.
        narrates: whether `info` goes to standard error as well: the journal of a service.

    Attributes:
        unobserved: nobody wants to know anything, so nothing is counted either.
        epoch: the wall clock, in nanoseconds since 1970, when perf_counter_ns was 0. Set anew now
            and then, since a clock can be set.
        counters: the counts.
    """

    def __init__(
        self,
        *,
        audit: EventStream | None = None,
        refusals: Refusals | None = None,
        failures: Failures | None = None,
        counts: bool = False,
        narrates: bool = False,
    ) -> None:
        self.audit = audit
        self.refusals = refusals
        self._failures = failures
        self.unobserved = audit is None and refusals is None and not counts
        self._quiet = frozenset() if narrates else frozenset({"info"})
        self.counters = Counters()
        self.set_clock()

    def set_clock(self) -> None:
        """Look at the wall clock again."""
        self.epoch = time.time_ns() - time.perf_counter_ns()

    def call(
        self,
        workload: str,
        note: Note,
        begun: int,
        named: tuple[str, str],
        response: Response,
        *,
        identity: Identity | None = None,
        args: Mapping[str, Any] | None = None,
        rule: str | None = None,
        waited: int = 0,
        approval: int = 0,
    ) -> None:
        """Count an answered call, and hand its record to whoever wants it.

        Args:
            workload: whose call it was.
            note: the notification.
            begun: when it was received, by perf_counter_ns.
            named: the operation and the system call.
            response: what became of it.
            identity: who called, where that could be read.
            args: of the call, as events tell them.
            rule: the name of the one that decided it.
            waited: nanoseconds that it waited for a person.
            approval: the question that the person was asked; 0 for none.
        """
        operation, syscall = named
        record = CallRecord(
            time_ns=self.epoch + begun,
            workload=workload,
            identity=identity,
            tid=note[PID],
            operation=operation,
            syscall=syscall,
            arch=arch_name(note[ARCH]),
            args=args,
            verdict=response.verdict,
            how=response.how,
            errno=response.errno,
            value=response.value,
            rule=rule,
            reason=response.reason,
            racy=response.racy,
            took_ns=clock() - begun - waited,
            waited_ns=waited,
            approval=approval,
            cause=response.cause,
        )
        self.counters.add(operation, record.verdict, record.how, record.errno, record.took_ns)
        if self.audit is not None:
            self.audit.add(record)
        if self.refusals is not None:
            self.refusals.add(record)

    def failed(self, rule: str | None, why: str | None) -> None:
        """Count a call at which a rule failed, and show that where only errors are shown."""
        self.counters.errors += 1
        if self._failures is not None:
            self._failures.add(rule or "?", why or "?")

    def event(self, name: str, level: str = "info", /, **fields: Any) -> None:
        """Log something that is not a call; see the catalogue in `audit.event`.

        Args:
            name: as in the catalogue.
            level: `info` goes to the audit file; `warning` and `error` to standard error as well.
            fields: what the catalogue says.
        """
        if self.audit is not None:
            getattr(json_logger(self.audit), level)(name, **fields)
            if not self._quiet:
                self.audit.flush()  # a service may have no call for a long time
            fields = dict(self.audit.hidden(fields))  # from the journal of a service, too
        if level not in self._quiet:
            # Whoever read standard error may be gone (EPIPE), or slow (EAGAIN): deciding goes on.
            with contextlib.suppress(OSError):
                getattr(terminal_logger(sys.stderr, color=False), level)(name, **fields)

    def broke(self, error: Exception, **fields: Any) -> None:
        """Log an error of notifyd itself, with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.event("supervisor.error", "error", **fields, error=repr(error), traceback=trace)

    def flush(self) -> None:
        """Write what is collected, and add up what is counted."""
        self.counters.fold()
        if self.audit is not None:
            self.audit.flush()
