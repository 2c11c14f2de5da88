"""Audit exec: an event for every program that is executed, with path and arguments.

    notifyd run --rules audit-exec --audit exec.jsonl -- make

The rule has no opinion, so it can be combined with rules that have one. It reads nothing from the
program: notifyd records path and arguments before the kernel continues, and the kernel reads them
again. A program with several threads can change them in between, so the event says what was asked
for, which may not be what ran.
"""

from notifyd import Exec, on


@on(Exec)
def audit_exec(call: Exec) -> None:
    """To be declared is enough: every call of an operation with a rule has an event."""
