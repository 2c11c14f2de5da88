"""What the engine tells of its work: counts always, records where somebody reads them."""

from __future__ import annotations

from typing import Any

from notifyd.audit.jsonl import JsonLines
from notifyd.audit.record import Record
from notifyd.audit.tally import Tally
from notifyd.audit.terminal import Refusals, is_refusal
from notifyd.engine.answer import Outcome
from notifyd.kernel.arch import ARCHES
from notifyd.policy.call import ARCH, PID, Note
from notifyd.target.identity import Identity


class Reporter:
    """Where answered calls go.

    Args:
        audit: the event log, or None.
        refusals: what shows refused calls to a person, or None.

    Attributes:
        attentive: calls need a record, with identity and arguments.
        tally: the counts.
    """

    def __init__(self, *, audit: JsonLines | None = None, refusals: Refusals | None = None) -> None:
        self.audit = audit
        self.refusals = refusals
        self.attentive = audit is not None or refusals is not None
        self.tally = Tally()

    def answered(
        self,
        workload: str,
        note: Note,
        operation: str,
        syscall: str,
        outcome: Outcome,
        rule: str | None,
        times: tuple[int, int, int],
        identity: Identity | None,
        args: dict[str, Any] | None,
    ) -> None:
        """Count a call, and keep a record of it where somebody wants one.

        Args:
            times: wall clock when received, nanoseconds to the answer, nanoseconds of waiting.
        """
        verdict, how, number, value, reason, racy = outcome
        received, took, waited = times
        self.tally.add(operation, verdict, how, number, took)
        shown = self.refusals is not None and is_refusal(outcome)
        if self.audit is None and not shown:
            return
        record = Record(
            received,
            workload,
            identity,
            note[PID],
            operation,
            syscall,
            arch_name(note[ARCH]),
            args,
            verdict,
            how,
            number,
            value,
            rule,
            reason,
            racy,
            took,
            waited,
        )
        if self.audit is not None:
            self.audit.add(record)
        if self.refusals is not None and shown:
            self.refusals.add(record)

    def event(self, name: str, **fields: Any) -> None:
        """Log something that is not a call; see the catalogue in `audit.event`."""
        if self.audit is not None:
            self.audit.event(name, **fields)

    def flush(self) -> None:
        """Write what is collected."""
        if self.audit is not None:
            self.audit.flush()


def arch_name(audit: int) -> str:
    """`x86_64` for AUDIT_ARCH_X86_64; the number as text where it is not ours."""
    arch = ARCHES.get(audit)
    return arch.name if arch is not None else hex(audit)
