"""What `notifyd rules A B` says: which file is asked about what, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from notifyd.cli.columns import columns
from notifyd.cli.filter_view import said, wanted
from notifyd.events.sanitize import cut
from notifyd.kernel.arch import native
from notifyd.policy.call import RawCall
from notifyd.policy.rule import Always, Declaration
from notifyd.policy.ruleset import RuleSet, Step

__all__ = ["as_data", "show_order"]

MAX_CONDITION_CHARS = 60  # characters of conditions in the table; JSON has them whole
_HEADING = ("operation", "", "asked", "of calls whose")
_END = (
    "All files that are about a call are asked, in this order; in each the first verdict counts.",
    "Deny, Kill, Return and Supply end it, and so does Allow(final=True). A question is put last.",
)


def show_order(rules: RuleSet) -> Iterator[str]:
    """The lines of a table, an operation after the other, with what it means below."""
    rows: list[Sequence[str]] = [_HEADING]
    for title, declared in _asked(rules):
        for number, one in enumerate(declared, 1):
            about = cut(wanted(one), MAX_CONDITION_CHARS)
            rows.append((title if number == 1 else "", str(number), _who(one), about))
    yield from columns(rows)
    yield ""
    yield from _END


def as_data(rules: RuleSet) -> list[dict[str, Any]]:
    """The same for programs: of each operation its system calls, and who is asked in order."""
    return [
        {
            "operation": title,
            "asked": [
                {
                    "name": one.name,
                    "place": one.claim.place,
                    "conditions": wanted(one),
                    **({"verdict": said(one)} if isinstance(one, Always) else {}),
                }
                for one in declared
            ],
        }
        for title, declared in _asked(rules)
    ]


def _who(one: Declaration) -> str:
    return f"{one.name} {said(one)}" if isinstance(one, Always) else one.name


def _asked(rules: RuleSet) -> list[tuple[str, list[Declaration]]]:
    """By operation, what is asked; where its system calls differ in that, by those."""
    arch = native()
    groups: dict[tuple[str, tuple[Declaration, ...]], list[str]] = {}
    for (audit, number), steps in rules.plans.items():
        if audit == arch.audit:
            declared = tuple(dict.fromkeys(step.declaration for step in steps))
            syscall = str(arch.name_of(number))
            groups.setdefault((_title(steps, syscall), declared), []).append(syscall)
    titles = Counter(title for title, _ in groups)
    found = [
        (title if titles[title] == 1 else ", ".join(syscalls), list(declared))
        for (title, declared), syscalls in groups.items()
    ]
    return sorted(found, key=lambda one: one[0])


def _title(steps: Sequence[Step], syscall: str) -> str:
    operations = {step.operation for step in steps}
    return (
        steps[0].operation.title if len(operations) == 1 and RawCall not in operations else syscall
    )
