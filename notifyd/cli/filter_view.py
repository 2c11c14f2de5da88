"""What `notifyd rules --filter` says: what of a rule set the kernel decides, and its program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from errno import errorcode
from typing import Any

from notifyd.cli.columns import columns
from notifyd.kernel.arch import ARCHES
from notifyd.policy import conditions
from notifyd.policy.call import Raw
from notifyd.policy.conditions import Condition
from notifyd.policy.fields import Enum, Field, Flags
from notifyd.policy.lower import cubes_of, lower
from notifyd.policy.rule import Always, Declaration
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import Allow, Deny

__all__ = ["said", "show_filter", "wanted"]


def show_filter(rules: RuleSet) -> Iterator[str]:
    """The lines: what is decided where, and the program as it will be installed.

    Raises:
        UsageError: a rule that could never speak.
        FilterError: no program can say this.
    """
    from notifyd.bpf.build import compile_profile
    from notifyd.bpf.disassemble import disassemble

    lowered = lower(rules)
    decided = [one for one in rules.declarations if isinstance(one, Always)]
    asked = [one for one in rules.declarations if not isinstance(one, Always)]
    if decided:
        yield "decided in the kernel"
        for one in decided:
            yield from _show(rules, one, said(one))
        yield ""
    if asked:
        yield "asked of the rules"
        for rule in asked:
            yield from _show(rules, rule, rule.name)
        yield ""
    built = compile_profile(lowered.profile)
    for line in built.widened:
        yield f"wider than asked for: {line}"
    told = "calls leave it as said above" if lowered.notifies else "no call ever leaves it"
    yield f"the kernel's program: {len(built.program)} instructions; {told}"
    yield from disassemble(built.program)


def _show(rules: RuleSet, declaration: Declaration, heading: str) -> Iterator[str]:
    """One declaration: its verdict or name, and on which calls of which entry."""
    about = wanted(declaration)
    yield f"  {heading}{' if ' + about if about else ''}"
    steps = _steps(rules, declaration)
    rows = [
        (arch.name, ", ".join(dict.fromkeys(_name(step) for step in steps[arch.name])))
        for arch in ARCHES.values()
        if arch.name in steps
    ]
    yield from columns(rows, "    ")


def said(always: Always) -> str:
    """What the kernel gives, as a rule file writes it."""
    verdict = always.verdict
    if isinstance(verdict, Deny):
        return f"Deny({errorcode.get(verdict.errno, verdict.errno)})"
    return repr(verdict) if isinstance(verdict, Allow) else f"{type(verdict).__name__}()"


def _steps(rules: RuleSet, declaration: Declaration) -> Mapping[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for (audit, _), steps in rules.plans.items():
        for step in steps:
            if step.declaration is declaration and cubes_of(step):
                found.setdefault(ARCHES[audit].name, []).append(step)
    return found


def _name(step: Step) -> str:
    """A system call, and what the filter cannot see of it."""
    unseen = [name for name, _ in step.hidden]
    if not unseen:
        return step.variant.syscall
    return f"{step.variant.syscall} (whatever its {', '.join(unseen)}: in memory)"


def wanted(declaration: Declaration) -> str:
    """The conditions of a declaration in words; "" for none."""
    claim = declaration.claim
    first = claim.operations[0]
    fields: Mapping[str, Field[Any]] = {} if isinstance(first, Raw) else first.fields
    return " and ".join(
        f"{name} {_say(condition, fields.get(name))}"
        for name, condition in claim.conditions.items()
    )


def _say(condition: Condition, field: Field[Any] | None) -> str:
    if isinstance(condition, conditions.Between):
        return f"is {condition.low} to {condition.high}"
    if isinstance(condition, conditions.Bits):
        verb = "has" if condition.value else "lacks"
        return f"{verb} {_bits(condition.mask, field)}"
    if isinstance(condition, conditions.AnyBit):
        return f"has any of {_bits(condition.bits, field)}"
    assert isinstance(condition, (conditions.OneOf, conditions.NoneOf))
    verb = "is" if isinstance(condition, conditions.OneOf) else "is not"
    return f"{verb} {' or '.join(_value(value, field) for value in condition.values)}"


def _value(value: int, field: Field[Any] | None) -> str:
    names = field.names if isinstance(field, Enum) else {}
    found = next((name for name, number in names.items() if number == value), None)
    return found or (str(value) if value < 1 << 16 else hex(value))


def _bits(bits: int, field: Field[Any] | None) -> str:
    names = field.names if isinstance(field, Flags) else {}
    found = [name for name, bit in names.items() if bit and bits & bit == bit]
    rest = bits
    for name in found:
        rest &= ~names[name]
    return "|".join([*found, *([hex(rest)] if rest or not found else [])])
