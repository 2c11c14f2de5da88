"""What lies above the bits that the kernel uses of a register changes nothing, anywhere.

Generated over every field of every operation and both entries of the machine: what the kernel's
program says, what the conditions say in Python, and what the author meant, of the same call with
its registers clean and with rubbish above.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from struct import pack
from typing import Any, NamedTuple

import pytest

from notifyd import Deny, RuleSet, always, between, has, has_any, is_not, lacks, on
from notifyd.bpf.build import compile_profile
from notifyd.bpf.profile import NOTIFY, decide, errno_action
from notifyd.bpf.simulate import Machine
from notifyd.errors import NotifydError
from notifyd.kernel.arch import ARCHES, Arch, entries, native
from notifyd.kernel.syscalls.widths import width_of
from notifyd.kernel.unotify import NOTIF, note_from
from notifyd.policy.bound import Source, Variant
from notifyd.policy.call import Raw, RawCall
from notifyd.policy.conditions import NOTHING, as_condition, cut, narrow
from notifyd.policy.fields import Field, Flags
from notifyd.policy.load import load_file, shipped
from notifyd.policy.lower import lower
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.operations.layouts import Less, Signed32
from notifyd.policy.rule import DECLARED
from notifyd.policy.ruleset import Step
from notifyd.policy.sources import Const, Pair, Reg, Reg16, Word
from notifyd.testing import FakeTarget, call_from_registers

EVERY = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
RUBBISH = (0, 1, (1 << 64) - 1)  # shifted above what counts
DENIED = errno_action(errno.EPERM)
IN_REGISTERS = (Reg, Reg16, Pair, Signed32, Less)


class Meant(NamedTuple):
    """A condition, and what its author means by it: of a number of so many bits."""

    condition: object
    holds: Callable[[int, int], bool]


def low(value: int, bits: int) -> int:
    """A number, negative or not, as so many unsigned bits."""
    return value & (1 << bits) - 1


def meanings(value: int) -> Iterator[Meant]:
    """Every kind of condition, about one number."""
    yield Meant(value, lambda seen, bits: seen == low(value, bits))
    yield Meant({value, 7}, lambda seen, bits: seen in (low(value, bits), 7))
    yield Meant(is_not(value), lambda seen, bits: seen != low(value, bits))
    if value > 0:
        yield Meant(has(value), lambda seen, _: seen & value == value)
        yield Meant(lacks(value), lambda seen, _: not seen & value)
        yield Meant(has_any(value), lambda seen, _: bool(seen & value))
        yield Meant(between(value, value + 3), lambda seen, _: value <= seen <= value + 3)


def named(field: Field[Any]) -> list[int]:
    """Numbers worth a condition: small, negative, and one that has a name."""
    names = [one for one in getattr(field, "names", {}).values() if 0 < one < 1 << field.width]
    return [1, -1, *([max(names)] if names and isinstance(field, Flags) else names[:1])]


def declared(make: Callable[[], object]) -> RuleSet:
    """The rule set of what `make` declares in this file."""
    globals().pop(DECLARED, None)
    make()
    return RuleSet.build(globals().pop(DECLARED))


def with_rubbish(
    arch: Arch, syscall: str, registers: Sequence[int], rubbish: int
) -> tuple[int, ...]:
    """The registers with rubbish above the bits of them that the kernel looks at."""
    widths = [min(width_of(arch.name, syscall, at), arch.bits) for at in range(6)]
    return tuple(
        low(value, bits) | (rubbish << bits & (1 << 64) - 1)
        for value, bits in zip(registers, widths, strict=True)
    )


def received(arch: Arch, syscall: str, registers: Sequence[int]) -> tuple[int, ...]:
    """The notification as it comes from the kernel."""
    head = (1, 1, 0, arch.numbers[syscall], arch.audit, 0)
    return note_from(NOTIF.pack(*head, *registers))


def stored(source: Source, value: int, registers: list[int]) -> None:
    """Put a value where a source takes it from."""
    whole = (1 << 64) - 1
    if isinstance(source, Pair):
        registers[source.low], registers[source.high] = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    elif isinstance(source, Less):
        registers[source.index] = value + source.amount & whole
    elif isinstance(source, (Reg, Reg16, Signed32)):
        registers[source.index] = value & whole


def registers_for(variant: Variant, name: str, value: int, arch: Arch) -> list[int]:
    """Clean registers of a call whose field `name` has this value."""
    registers = [0] * 6
    source = variant.sources.get(name)
    if source is not None:
        stored(source, value, registers)
    for at, number in variant.when:
        registers[at] = number
    return [low(one, arch.bits) for one in registers]


def lines(operation: Any) -> Iterator[tuple[Arch, Variant]]:
    """Every line of an operation's table, at each entry of this machine that has it."""
    for arch in entries(native()):
        for variant in operation.variants:
            if variant.syscall in arch.numbers and variant.arch in (None, arch.name):
                yield arch, variant


def conditional(operation: Any, fields: Any) -> Iterator[tuple[str, Field[Any]]]:
    """The fields that can have a condition."""
    for name, field in fields.items():
        if not field.memory and not field.derived and field.kind != "device":
            yield name, field


def step_of(rules: RuleSet, arch: Arch, variant: Variant) -> Step | None:
    """The step for one line of the table."""
    steps = rules.plans.get((arch.audit, arch.numbers[variant.syscall]), ())
    return next((step for step in steps if step.variant is variant), None)


def check_condition(operation: Any, name: str, field: Field[Any], meant: Meant) -> None:
    """One condition on one field, for all calls of the operation."""

    def refuse() -> None:
        always(Deny(errno.EPERM), operation, **{name: meant.condition})

    def ask() -> None:
        on(operation, **{name: meant.condition})(lambda call: None)

    made = (
        ((refuse, DENIED), (ask, NOTIFY))
        if isinstance(meant.condition, int)
        else ((refuse, DENIED),)
    )
    for make, action in made:
        rules = declared(make)
        machine = Machine(compile_profile(lower(rules).profile).program)
        for arch, variant in lines(operation):
            step, apart = step_of(rules, arch, variant), not shared(operation, arch, variant)
            source = variant.sources.get(name, Const(field.default))
            for clean, expected in cases(operation, name, field, meant, arch, variant):
                for rubbish in RUBBISH:
                    where = f"{arch.name} {variant.syscall} {clean} {rubbish:#x} {meant.condition}"
                    given = with_rubbish(arch, variant.syscall, clean, rubbish)
                    got = machine.run(arch.audit, arch.numbers[variant.syscall], given)
                    if apart and isinstance(source, (Reg, Const)):
                        assert (got == action.value) == expected, where
                    else:  # the kernel cannot see it, or it sees another line of the table, too
                        assert got == action.value or not expected, where
                    assert applies(step, received(arch, variant.syscall, given)) == expected, where


def cases(
    operation: Any, name: str, field: Field[Any], meant: Meant, arch: Arch, variant: Variant
) -> Iterator[tuple[list[int], bool]]:
    """Clean registers of a call, and whether the author means it."""
    source = variant.sources.get(name, Const(field.default))
    bits = min(field.width, source.bits, arch.bits) if isinstance(source, Reg) else field.width
    for value in dict.fromkeys((*named(field), 7, 0)):
        clean = registers_for(variant, name, value, arch)
        shown = call_from_registers(operation, variant.syscall, *clean, arch=arch.name)
        if shown.variant is not variant:
            continue
        if isinstance(source, (*IN_REGISTERS, Const)):
            yield clean, meant.holds(low(getattr(shown, name), bits), bits)
        else:
            yield clean, True  # in memory: everybody is asked


def applies(step: Step | None, note: tuple[int, ...]) -> bool:
    """What the supervisor finds, as far as registers go."""
    if step is None or not step.applies(note):
        return False
    sources = [step.variant.sources[name] for name, _ in step.hidden]
    if not all(isinstance(one, IN_REGISTERS) for one in sources):
        return True
    return step.applies_hidden(step.operation(note, step.variant, None))


def shared(operation: Any, arch: Arch, variant: Variant) -> bool:
    """Whether other lines of the table are about the same call: socketcall does many things."""
    same = [one for at, one in lines(operation) if at is arch and one.syscall == variant.syscall]
    return len(same) > 1


@EVERY
def test_conditions(operation):
    """Kernel, Python and author agree on every condition, whatever the upper halves hold."""
    for name, field in conditional(operation, operation.fields):
        for value in dict.fromkeys(named(field)):
            for meant in meanings(value):
                check_condition(operation, name, field, meant)


BASE = 0x1000_0000  # where the memory of a call begins
TEXT = b"/tmp/name\0"


def look(call: Any, name: str) -> object:
    """A field's value, or what asking for it comes to."""
    try:
        return getattr(call, name)
    except (NotifydError, AttributeError, ValueError) as error:
        return type(error), str(error)


def everything(call: Any) -> dict[str, object]:
    """All that a rule and an event can say of a call."""
    values = {name: look(call, name) for name in call.fields}
    properties = [name for name, value in vars(type(call)).items() if isinstance(value, property)]
    return {**values, **{name: look(call, name) for name in properties}, "event": call.describe()}


@EVERY
def test_fields_and_events(operation):
    """A rule and an event see the same of both calls, behind pointers too."""
    memory = {BASE + at * 0x1000: (TEXT + bytes(0xFF6)) for at in range(8)}
    for arch, variant in lines(operation):
        if any(isinstance(source, Word) for source in variant.sources.values()):
            memory = {BASE: b"".join(pack("<I", BASE + 0x2000) for _ in range(6)) + bytes(0xFE8)}
            memory[BASE + 0x2000] = TEXT + bytes(0x300)
        clean = [0 if width_of(arch.name, variant.syscall, at) < 64 else BASE for at in range(6)]
        if arch.bits == 32:
            clean = [BASE] * 6
        for at, number in variant.when:
            clean[at] = number
        wanted = call_from_registers(
            operation, variant.syscall, *clean, arch=arch.name, target=FakeTarget(memory)
        )
        if wanted.variant is not variant:
            continue
        expected = everything(wanted)
        for rubbish in RUBBISH:
            note = received(
                arch, variant.syscall, with_rubbish(arch, variant.syscall, clean, rubbish)
            )
            call = operation(note, variant, wanted.origin)
            assert everything(call) == expected, (arch.name, variant.syscall, hex(rubbish))


@pytest.mark.parametrize("arch", entries(native()), ids=lambda arch: arch.name)
def test_bare_calls(arch):
    """Conditions on a bare register look at what the kernel looks at, and so does the rule."""
    for syscall in sorted(arch.numbers):
        for at in range(6):
            bits = min(width_of(arch.name, syscall, at), arch.bits)
            rules = declared(partial(always, Deny(errno.EPERM), Raw(syscall), **{f"arg{at}": -2}))
            program = lower(rules).profile
            for rubbish in RUBBISH:
                given = with_rubbish(arch, syscall, [low(-2, bits)] * 6, rubbish)
                assert decide(program, arch.name, arch.numbers[syscall], given) == DENIED, syscall
                call = call_from_registers(Raw(syscall), syscall, arch=arch.name)
                seen = RawCall(received(arch, syscall, given), call.variant, None)
                assert getattr(seen, f"arg{at}") == low(-2, bits), syscall


def test_numbers_that_need_more_bits():
    """Behind a 32-bit entry such a number is none, and never another one cut short."""
    whole, low_, high = 1 << 40, 0x10, 1 << 40 | 0x10
    assert narrow(cut(as_condition(high), 64), 64, 32) == NOTHING
    assert narrow(cut(is_not(high, low_), 64), 64, 32) == is_not(low_)
    assert narrow(has(whole), 64, 32) == narrow(has(high), 64, 32) == NOTHING
    assert narrow(lacks(high), 64, 32) == lacks(low_)
    assert narrow(has_any(high), 64, 32) == has_any(low_)
    assert narrow(between(low_, high), 64, 32) == between(low_, 0xFFFF_FFFF)
    assert narrow(between(whole, high), 64, 32) == NOTHING
    assert narrow(cut(between(-5, -1), 64), 64, 32) == between(0xFFFF_FFFB, 0xFFFF_FFFF)


@pytest.mark.parametrize("condition", [has(1 << 32), has_any(1 << 32)])
def test_bits_that_a_field_does_not_have(condition):
    """A rule that could never speak is an error where it is written."""
    with pytest.raises(TypeError, match="holds for nothing"):
        always(Deny(errno.EPERM), OPERATIONS["Ioctl"], request=condition)


# Narrower than the kernel takes them, and the same to it.
NARROWER = {
    ("Socket", "type"),  # the flags are in the upper bytes, and an unknown bit is EINVAL
}


@EVERY
def test_fields_have_the_width_that_the_kernel_uses(operation):
    """No condition compares a bit that the kernel drops, and none leaves one out."""
    for variant in operation.variants:
        for arch in ARCHES.values():
            if variant.syscall not in arch.numbers or variant.arch not in (None, arch.name):
                continue
            for name, source in variant.sources.items():
                if isinstance(source, Reg) and (operation.title, name) not in NARROWER:
                    ours = min(operation.fields[name].width, source.bits, arch.bits)
                    theirs = min(width_of(arch.name, variant.syscall, source.index), arch.bits)
                    assert ours == theirs, (arch.name, variant.syscall, name)


@pytest.mark.parametrize("name", shipped())
def test_shipped_rules(name):
    """Each condition of the rules that ship, just met and just not, is decided the same."""
    rules = RuleSet.build(load_file(name).declared)
    profile = lower(rules).profile
    machine = Machine(compile_profile(profile).program)
    for entry in profile.entries:
        arch = next(one for one in ARCHES.values() if one.name == entry.arch)
        for number, clauses in entry.clauses.items():
            syscall = arch.name_of(number)
            steps = rules.plans.get((arch.audit, number), ())
            for cube in [cube for clause in clauses for cube in clause.cubes]:
                for flipped in (0, *(one.mask & -one.mask for one in cube)):
                    clean = [0] * 6
                    for one in cube:
                        clean[one.arg] = one.value ^ (flipped & one.mask)
                    answers = set()
                    for rubbish in RUBBISH:
                        given = with_rubbish(arch, syscall, clean, rubbish)
                        note = received(arch, syscall, given)
                        asked = tuple(step.applies(note) for step in steps)
                        answers.add((machine.run(arch.audit, number, given), asked))
                    assert len(answers) == 1, (arch.name, syscall, clean)
