"""Rule files of notifyd's own, put before those of a person.

They refuse what would undo the person's rules, and have nothing against all else. Owns how the two
add up; what is refused, whoever puts one there knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from notifyd.policy.call import ARCH, NR, Call
from notifyd.policy.rule import Declaration
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.verdicts import Allow

__all__ = ["nothing_against", "put_before"]


def put_before(rules: RuleSet, declared: Iterable[Declaration], *, strict: bool = False) -> RuleSet:
    """`rules`, behind one more rule file.

    Args:
        rules: a person's.
        declared: what the rule file of ours declares.
        strict: refuse `Continue()` after a look at memory, whatever the person chose.
    """
    strict = strict or rules.strict
    return RuleSet.build(declared, *rules.files, otherwise=rules.otherwise, strict=strict)


def nothing_against(rules: RuleSet, call: Call) -> Allow | None:
    """What a rule of ours says of a call that it does not refuse, put before `rules`.

    A call is reported that no rule of the person's is about: without an opinion it would be what
    they chose for those that their rules leave open. Where theirs are asked, ours has none.
    """
    if isinstance(rules.otherwise, Allow) or not _is_asked(rules, call):
        return Allow()
    return None


def _is_asked(rules: RuleSet, call: Call) -> bool:
    steps = rules.plans.get((call.note[ARCH], call.note[NR]), ())
    return any(step.applies(call.note) and step.applies_hidden(call) for step in steps)
