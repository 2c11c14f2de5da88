"""A rule set: rule files in their order, and for every system call the steps that decide it.

Frozen. Built once from what rule files declare; a reload builds another.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from notifyd.errors import UsageError
from notifyd.kernel.arch import Arch, entries, native
from notifyd.policy.bound import Source, Variant
from notifyd.policy.call import ARG0, Call, Note, Raw, RawCall
from notifyd.policy.conditions import NOTHING, Condition, narrow
from notifyd.policy.rule import Always, Claim, Declaration, Rule
from notifyd.policy.sources import Const, Reg, Word
from notifyd.policy.verdicts import Allow, Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """One declaration's interest in one system call.

    Attributes:
        declaration: the rule to ask, or the verdict that the kernel should have given already.
        operation: the class that the call is decoded as.
        variant: where it keeps its fields.
        registers: (index, mask of the bits that count on this entry, condition) that can be tested
            with no look at memory.
        hidden: (field name, condition) on what the filter cannot see.
        file: the number of its rule file in the rule set.
    """

    declaration: Declaration
    operation: type[Call]
    variant: Variant
    registers: tuple[tuple[int, int, Condition], ...]
    hidden: tuple[tuple[str, Condition], ...]
    file: int = 0

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
        files: the declarations of each rule file, in the order given.
        otherwise: the verdict where no rule has an opinion.
        strict: refuse `Continue()` where memory was looked at.
        plans: by (AUDIT_ARCH, syscall number), the steps in the order they are asked: file by file,
            and of each what is `always` first, as in the kernel, then the rules as written.
    """

    files: tuple[tuple[Declaration, ...], ...]
    otherwise: Verdict = field(default_factory=Allow)
    strict: bool = False
    plans: Mapping[tuple[int, int], tuple[Step, ...]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        *files: Iterable[Declaration],
        otherwise: Verdict | None = None,
        strict: bool = False,
    ) -> RuleSet:
        """A rule set for this machine's architectures.

        Args:
            files: what each rule file declares.
            otherwise: as the attribute; by default `Allow()`.
            strict: as the attribute.

        Raises:
            UsageError: a system call's name that no architecture here has.
        """
        declared = tuple(tuple(one) for one in files)
        plans: dict[tuple[int, int], list[Step]] = {}
        for number, file in enumerate(declared):
            for declaration in sorted(file, key=lambda one: isinstance(one, Rule)):  # stable
                for arch, step in _steps(declaration, number):
                    key = arch.audit, arch.numbers[step.variant.syscall]
                    plans.setdefault(key, []).append(step)
        return cls(
            declared,
            Allow() if otherwise is None else otherwise,
            strict,
            {key: tuple(steps) for key, steps in plans.items()},
        )

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """Those of all files, in their order."""
        return tuple(one for file in self.files for one in file)

    @property
    def may_ask(self) -> bool:
        """Whether any rule could return `Ask`. Those that could not are refused if they do."""
        return any(rule.may_ask for rule in self.rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The declarations that are functions."""
        return tuple(one for one in self.declarations if isinstance(one, Rule))

    @property
    def always(self) -> tuple[Always, ...]:
        """The declarations that the kernel decides."""
        return tuple(one for one in self.declarations if isinstance(one, Always))


def _steps(declaration: Declaration, file: int) -> Iterator[tuple[Arch, Step]]:
    claim = declaration.claim
    for operation in claim.operations:
        cls = RawCall if isinstance(operation, Raw) else operation
        for variant in operation.variants:
            if isinstance(operation, Raw):
                _check_name(claim, variant.syscall)
            for arch in entries(native()):
                if variant.syscall not in arch.numbers or variant.arch not in (None, arch.name):
                    continue
                step = _step(declaration, cls, variant, arch, file)
                if step is not None:
                    yield arch, step


def _step(
    declaration: Declaration, operation: type[Call], variant: Variant, arch: Arch, file: int
) -> Step | None:
    registers: list[tuple[int, int, Condition]] = []
    hidden: list[tuple[str, Condition]] = []
    for name, condition in declaration.claim.conditions.items():
        field_ = operation.fields[name]
        source = variant.sources.get(name, Const(field_.default))
        bits = min(field_.width, _bits(source, arch))
        condition = narrow(condition, field_.width, bits)
        full = (1 << bits) - 1
        if condition == NOTHING:
            return None  # as no call of this entry can meet it
        if isinstance(source, Reg):
            registers.append((source.index, full, condition))
        elif not isinstance(source, Const):
            hidden.append((name, condition))
        elif not condition.holds(source.value & full):
            return None
    return Step(declaration, operation, variant, tuple(registers), tuple(hidden), file)


# Invariant: on a 32-bit entry a register has 32 bits, and elsewhere it has no more where the kernel
# passes it on as an int: what lies above is never compared.
def _bits(source: Source, arch: Arch) -> int:
    if isinstance(source, Reg):
        return min(source.bits, arch.bits)
    return 32 if isinstance(source, Word) else 64


def _check_name(claim: Claim, name: str) -> None:
    known = {known for arch in entries(native()) for known in arch.numbers}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{claim.place}: no system call is named {name!r} on this machine{hint}")
