"""From a rule set to the profile that the kernel holds: what sinks, what notifies, what conflicts.

The kernel tests registers only. Where a condition is about something it cannot see, a rule is
notified of every such call and tests for itself; a refusal refuses (fail closed), and an allowance
does not apply.

Rule files add up here as they do in the evaluation: the first file that refuses a call or has to be
asked about it decides what the kernel does, and one that allows it leaves it to the next.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from notifyd.bpf.cubes import both, equal, subtract
from notifyd.bpf.profile import (
    ALLOW,
    KILL_PROCESS,
    NOTIFY,
    Action,
    ArchTable,
    Clause,
    Cube,
    Profile,
    errno_action,
)
from notifyd.errors import UsageError
from notifyd.kernel.arch import ARCHES, Arch, entries, native
from notifyd.policy.rule import Always
from notifyd.policy.ruleset import RuleSet, Step
from notifyd.policy.verdicts import Allow, Deny

MAX_RULE_CUBES = 1024  # cubes that what an `always` leaves of a rule is cut into


@dataclass(frozen=True, slots=True)
class Lowered:
    """What of a rule set the kernel holds.

    Attributes:
        profile: for every architecture entry of this machine.
        notifies: whether any call may leave the kernel.
        decided: (operation, action) of what the kernel decides by itself, for people.
    """

    profile: Profile
    notifies: bool
    decided: tuple[tuple[str, str], ...]


def lower(rules: RuleSet, *, watch: Sequence[tuple[str, tuple[Cube, ...]]] = ()) -> Lowered:
    """What of `rules` the kernel can hold, for every architecture entry of this machine.

    Args:
        rules: what to enforce.
        watch: what the supervisor wants to be told of for its own sake: names of system calls,
            and for which registers.

    Raises:
        UsageError: a rule that could never fire because an `always` decides all its calls; both
            places are named.
    """
    check_conflicts(rules)
    by_arch: dict[str, dict[int, tuple[Clause, ...]]] = {}
    watched = {name for name, _ in watch}
    for (audit, number), steps in rules.plans.items():
        arch = ARCHES[audit]
        told = arch.name_of(number) in watched
        clauses = tuple(_clauses(steps, told))
        by_arch.setdefault(arch.name, {})[number] = clauses
    arches = entries(native())
    for arch in arches:
        _add_watched(by_arch.setdefault(arch.name, {}), arch, watch)
    profile = Profile(
        default=ALLOW,
        entries=tuple(ArchTable(arch.name, by_arch[arch.name]) for arch in arches),
        # Invariant: what the program does not know is refused (x32, foreign architectures).
        unknown_arch=errno_action(errno.ENOSYS),
    )
    return Lowered(profile, _notifies(profile), _decided(rules))


def _notifies(profile: Profile) -> bool:
    return any(
        clause.action == NOTIFY
        for entry in profile.entries
        for clauses in entry.clauses.values()
        for clause in clauses
    )


def _decided(rules: RuleSet) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], None] = {}
    for steps in rules.plans.values():
        asked: list[Cube] = []  # of rules that come before
        for step in steps:
            if not isinstance(step.declaration, Always):
                asked += cubes_of(step)
            elif not asked or _minus(cubes_of(step), asked):
                raw = step.operation.title == "Raw"
                name = step.variant.syscall if raw else step.operation.title
                found[name, str(_action(step))] = None
    return tuple(found)


def check_conflicts(rules: RuleSet) -> None:
    """Raise UsageError for a declaration to which an `always` of its file leaves no call at all."""
    left: dict[int, bool] = {}
    blame: dict[int, Always] = {}
    for steps in (file for plan in rules.plans.values() for file in by_file(plan)):
        decided: list[tuple[Always, tuple[Cube, ...]]] = []
        for step in steps:
            mine = cubes_of(step)
            rest = _minus(mine, (cube for _, theirs in decided for cube in theirs))
            key = id(step.declaration)
            left[key] = left.get(key, False) or bool(rest)
            if not rest and decided:
                blame.setdefault(key, decided[0][0])
            if isinstance(step.declaration, Always) and mine:
                decided.append((step.declaration, mine))
    for declaration in rules.declarations:
        first = blame.get(id(declaration))
        if first is None or left[id(declaration)]:
            continue
        if isinstance(declaration, Always) and declaration.verdict == first.verdict:
            continue
        raise UsageError(
            f"{declaration.claim.place}: {declaration.name} can never speak, since "
            f"always(...) at {first.claim.place} decides all its calls; remove one of the two"
        )


def cubes_of(step: Step) -> tuple[Cube, ...]:
    """The registers for which `step` must be asked, or may be decided in the kernel."""
    tests: list[tuple[Cube, ...]] = [tuple(equal(at, 32, value)) for at, value in step.variant.when]
    for at, mask, condition in step.registers:
        tests.append(condition.cubes(at, mask.bit_length()))
    always = step.declaration if isinstance(step.declaration, Always) else None
    if step.hidden and always is not None and isinstance(always.verdict, Allow):
        return ()
    found: tuple[Cube, ...] = ((),)
    for test in tests:
        found = tuple(both(found, test))
    return found


def by_file(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """The steps of one system call, those of each rule file together."""
    return [tuple(group) for _, group in groupby(steps, key=lambda step: step.file)]


def _clauses(steps: Sequence[Step], told: bool) -> Iterator[Clause]:
    """What the kernel does about one system call; the first that fits counts.

    Args:
        steps: in the order they are asked.
        told: whether the supervisor wants to know of calls that are allowed.
    """
    files = by_file(steps)
    for file in files:
        # Invariant: an allowance of one file never hides a call from another.
        yield from _file_clauses(file, told, last=file is files[-1])


def _file_clauses(file: Sequence[Step], told: bool, *, last: bool) -> Iterator[Clause]:
    passed: list[Cube] = []  # allowed by this file, and so left to the next one
    for step in file:
        cubes, action = cubes_of(step), _action(step)
        if action == ALLOW and not (last or _is_final(step)):
            passed += cubes
            continue
        if passed and cubes:
            cubes = _minus(cubes, passed)
            if len(cubes) > MAX_RULE_CUBES:
                # Too many to test: the supervisor does, by the same declarations in their order.
                cubes, action = cubes_of(step), NOTIFY
        if told and action == ALLOW:
            action = NOTIFY  # the supervisor wants to know, and allows it by the same declaration
        if cubes:
            yield Clause(action, cubes, f"{step.declaration.name} on {step.operation.__name__}")


def _is_final(step: Step) -> bool:
    verdict = getattr(step.declaration, "verdict", None)
    return isinstance(verdict, Allow) and verdict.final


def _action(step: Step) -> Action:
    if not isinstance(step.declaration, Always):
        return NOTIFY
    verdict = step.declaration.verdict
    if isinstance(verdict, Deny):
        return errno_action(verdict.errno)
    return ALLOW if isinstance(verdict, Allow) else KILL_PROCESS


def _add_watched(
    clauses: dict[int, tuple[Clause, ...]],
    arch: Arch,
    watch: Sequence[tuple[str, tuple[Cube, ...]]],
) -> None:
    for name, cubes in watch:
        number = arch.numbers.get(name)
        if number is not None:
            clauses[number] = (*clauses.get(number, ()), Clause(NOTIFY, cubes, "the supervisor"))


def _minus(mine: tuple[Cube, ...], decided: Iterable[Cube]) -> tuple[Cube, ...]:
    """What of `mine` is not in `decided`; if that is cut into too many pieces, too many of them."""
    for cube in decided:
        mine = tuple(piece for one in mine for piece in subtract(one, cube))
        if len(mine) > MAX_RULE_CUBES:
            break
    return mine
