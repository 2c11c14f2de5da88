"""Audit exec: an event for every program that is executed, with path and arguments.

    notifyd run --rules audit-exec --audit exec.jsonl -- make

The rule has no opinion, so it can stand together with rules that have one. It looks at nothing: the
event takes path and arguments down before the kernel goes on, and the kernel reads them again. A
program with several threads can change them in between; what is recorded is what was asked for.
"""

from notifyd import Exec, on


@on(Exec)
def audit_exec(call: Exec) -> None:
    """Being declared is enough: every call of an operation with a rule has its event."""
