"""A rule set: declarations in their order, and for every system call the steps that decide it.

Frozen. Built once from what rule files declare; a reload builds another.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from notifyd.errors import UsageError
from notifyd.kernel.arch import Arch, entries, native
from notifyd.policy.call import ARG0, Call, Note, Raw, RawCall
from notifyd.policy.conditions import Condition
from notifyd.policy.rule import Always, Claim, Declaration, Rule
from notifyd.policy.sources import Const, Reg, Variant
from notifyd.policy.verdicts import Allow, Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """One declaration's interest in one system call.

    Attributes:
        declaration: the rule to ask, or the verdict that the kernel should have given already.
        operation: the class that the call is decoded as.
        variant: where it keeps its fields.
        registers: (index, mask of the width, condition) that can be tested with no look at memory.
        hidden: (field name, condition) on what the filter cannot see.
    """

    declaration: Declaration
    operation: type[Call]
    variant: Variant
    registers: tuple[tuple[int, int, Condition], ...]
    hidden: tuple[tuple[str, Condition], ...]

    @property
    def unconditional(self) -> bool:
        """Whether there is nothing to test before the declaration speaks."""
        return not self.registers and not self.hidden and not self.variant.when

    def applies(self, note: Note) -> bool:
        """Whether the registers of `note` are what this step is about."""
        for at, value in self.variant.when:
            if note[ARG0 + at] & 0xFFFFFFFF != value:
                return False
        return all(
            condition.holds(note[ARG0 + at] & mask) for at, mask, condition in self.registers
        )

    def applies_hidden(self, call: Call) -> bool:
        """Whether the conditions hold that only the target's memory can answer."""
        for name, condition in self.hidden:
            field_ = call.fields[name]
            value = call.raw(name, field_.default) & (1 << field_.width) - 1
            if not condition.holds(value):
                return False
        return True


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What decides the calls of a workload.

    Attributes:
        declarations: in the order written.
        otherwise: the verdict where no rule has an opinion.
        strict: refuse `Continue()` where memory was looked at.
        plans: by (AUDIT_ARCH, syscall number), the steps in the order they are asked: what is
            `always` first, as in the kernel, then the rules as written.
    """

    declarations: tuple[Declaration, ...]
    otherwise: Verdict = field(default_factory=Allow)
    strict: bool = False
    plans: Mapping[tuple[int, int], tuple[Step, ...]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        declarations: Iterable[Declaration],
        *,
        otherwise: Verdict | None = None,
        strict: bool = False,
    ) -> RuleSet:
        """A rule set for this machine's architectures.

        Raises:
            UsageError: a system call's name that no architecture here has.
        """
        declared = tuple(declarations)
        ordered = sorted(declared, key=lambda one: isinstance(one, Rule))  # stable
        plans: dict[tuple[int, int], list[Step]] = {}
        for declaration in ordered:
            for arch, step in _steps(declaration):
                number = arch.numbers[step.variant.syscall]
                plans.setdefault((arch.audit, number), []).append(step)
        return cls(
            declared,
            Allow() if otherwise is None else otherwise,
            strict,
            {key: tuple(steps) for key, steps in plans.items()},
        )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The declarations that are functions."""
        return tuple(one for one in self.declarations if isinstance(one, Rule))

    @property
    def always(self) -> tuple[Always, ...]:
        """The declarations that the kernel decides."""
        return tuple(one for one in self.declarations if isinstance(one, Always))


def _steps(declaration: Declaration) -> Iterator[tuple[Arch, Step]]:
    claim = declaration.claim
    for operation in claim.operations:
        cls = RawCall if isinstance(operation, Raw) else operation
        for variant in operation.variants:
            if isinstance(operation, Raw):
                _check_name(claim, variant.syscall)
            for arch in entries(native()):
                if variant.syscall not in arch.numbers or variant.arch not in (None, arch.name):
                    continue
                step = _step(declaration, cls, variant)
                if step is not None:
                    yield arch, step


def _step(declaration: Declaration, operation: type[Call], variant: Variant) -> Step | None:
    registers: list[tuple[int, int, Condition]] = []
    hidden: list[tuple[str, Condition]] = []
    for name, condition in declaration.claim.conditions.items():
        field_ = operation.fields[name]
        source = variant.sources.get(name, Const(field_.default))
        full = (1 << field_.width) - 1
        if isinstance(source, Reg):
            registers.append((source.index, full, condition))
        elif not isinstance(source, Const):
            hidden.append((name, condition))
        elif not condition.holds(source.value & full):
            return None
    return Step(declaration, operation, variant, tuple(registers), tuple(hidden))


def _check_name(claim: Claim, name: str) -> None:
    known = {known for arch in entries(native()) for known in arch.numbers}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{claim.place}: no system call is named {name!r} on this machine{hint}")
