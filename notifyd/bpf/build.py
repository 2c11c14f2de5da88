"""From a profile to a program, with libseccomp.

Owns the only import of pyseccomp; importing this module costs what that costs, so callers do it
late. Knows nothing of rules, and installs nothing.

libseccomp makes the search for the system call number. It would also translate numbers between
architectures by name, but knows no call newer than itself, and on i386 turns `socket` and its like
into `socketcall` while it drops the conditions on the arguments. Therefore each entry is compiled
alone, as if its numbers were this machine's own, and the bodies are joined behind a dispatch of
ours. A call with conditions is handed to libseccomp with an action that means nothing, a marker;
where the program returns it, a jump to the ordered clauses is put instead.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyseccomp

from notifyd.bpf import opcodes as op
from notifyd.bpf.cubes import cut
from notifyd.bpf.join import join
from notifyd.bpf.ordered import Ordered, order
from notifyd.bpf.profile import NOTIFY, Action, ArchTable, Clause, Profile
from notifyd.bpf.program import Instruction, Program
from notifyd.bpf.verify import Compiled, verify
from notifyd.errors import FilterError
from notifyd.kernel.arch import ARCHES

__all__ = ["LIMITS", "Built", "compile_profile"]

LIMITS = (256, 64, 16, 0)
"""Cubes of one call, tried in turn until the program is short enough for the kernel."""

_BINARY_TREE = 2  # SCMP_FLTATR_CTL_OPTIMIZE, since libseccomp 2.5: seccomp_attr_set(3)
_MARKERS = range(0x7FF0_0000, 0x7FF1_0000)  # SECCOMP_RET_TRACE with any data: seldom in a profile


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled profile.

    `widened` has a line for each call of which more is notified than the profile says, because the
    exact conditions would be too long. The supervisor must decide those again.
    """

    program: Program
    widened: tuple[str, ...]


def compile_profile(profile: Profile) -> Built:
    """The program that does what the profile says, checked by running it on chosen points.

    Raises:
        FilterError: an architecture that is not known; a program longer than the kernel takes,
            where the profile notifies of nothing; libseccomp refused it or got it wrong.
    """
    may_notify = NOTIFY.value in _values(profile)
    for limit in LIMITS:
        entries = [_ordered(profile, entry, limit, may_notify) for entry in profile.entries]
        bodies = [(entry.audit, _body(profile, entry)) for entry in entries]
        try:
            program = join(bodies, profile.unknown_arch.value)
        except FilterError:
            if not may_notify or limit == LIMITS[-1]:
                raise
            continue
        break
    verify(program, profile, entries)
    return Built(program, tuple(_widened(entries, limit)))


def _values(profile: Profile) -> frozenset[int]:
    """All that the profile lets a program return."""
    return frozenset(
        clause.action.value
        for entry in profile.entries
        for clauses in entry.clauses.values()
        for clause in clauses
    ) | {profile.default.value, profile.unknown_arch.value}


def _ordered(profile: Profile, entry: ArchTable, limit: int, may_notify: bool) -> Compiled:
    """Order the clauses of every call; equal clauses become one and the same object."""
    made: dict[tuple[Clause, ...], Ordered] = {}
    calls: dict[int, Ordered] = {}
    audit = _audit(entry.arch)
    for nr, clauses in entry.clauses.items():
        if clauses not in made:
            used = _cut(clauses, ARCHES[audit].bits)
            made[clauses] = order(used, profile.default, limit, may_notify=may_notify)
        calls[nr] = made[clauses]
    return Compiled(entry.arch, audit, calls)


# Invariant: on a 32-bit entry a register has 32 bits. What a program could load above them is not
# what the kernel uses, and the caller's to choose.
def _cut(clauses: tuple[Clause, ...], bits: int) -> tuple[Clause, ...]:
    if bits == 64:
        return clauses
    return tuple(replace(one, cubes=cut(one.cubes, bits)) for one in clauses)


def _audit(name: str) -> int:
    for audit, arch in ARCHES.items():
        if arch.name == name:
            return audit
    known = ", ".join(arch.name for arch in ARCHES.values())
    raise FilterError(f"no architecture {name!r} is known here; known are {known}")


def _widened(entries: Iterable[Compiled], limit: int) -> Iterable[str]:
    for entry in entries:
        for nr, call in entry.calls.items():
            if call.widened:
                name = ARCHES[entry.audit].name_of(nr) or nr
                yield f"{name} ({entry.arch}): more than {limit} conditions, the rest is notified"


def _body(profile: Profile, entry: Compiled) -> tuple[Instruction, ...]:
    # libseccomp's own x32 test answers with "bad architecture". That is what x86-64 wants; on
    # other entries such numbers are just numbers, which no call has.
    bad = profile.unknown_arch if entry.arch == "x86_64" else profile.default
    conditional = {id(call): call for call in entry.calls.values() if call.clauses}
    taken = _values(profile)
    free = (value for value in _MARKERS if value not in taken)
    markers = dict(zip(conditional, free, strict=False))
    if len(markers) < len(conditional):
        raise FilterError(f"{len(conditional)} different conditions are more than a filter holds")
    actions = {nr: markers.get(id(call), call.otherwise.value) for nr, call in entry.calls.items()}
    try:
        code = _from_number(_search(profile.default, bad, actions))
    except OSError as error:
        raise FilterError(f"libseccomp does not compile this profile: {error}") from error
    parts = {markers[key]: tuple(call.code()) for key, call in conditional.items()}
    return _linked(code, parts)


def _search(default: Action, bad: Action, actions: dict[int, int]) -> Sequence[Instruction]:
    """Have libseccomp make the program that looks actions up by number."""
    made = pyseccomp.SyscallFilter(default.value)
    made.set_attr(pyseccomp.Attr.ACT_BADARCH, bad.value)
    # An older libseccomp compares the numbers one after the other: slower, and as exact.
    with contextlib.suppress(OSError):
        made.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    for nr, action in actions.items():
        if action != default.value:
            made.add_rule_exactly(action, nr)
    with open(os.memfd_create("filter", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
        made.export_bpf(file)
        file.seek(0)
        return Program.from_bytes(file.readall()).instructions


def _from_number(code: Sequence[Instruction]) -> Sequence[Instruction]:
    """What follows libseccomp's test of the architecture.

    Jumps are relative and only go forward, so a program may be cut where they have not begun.
    """
    for at, one in enumerate(code):
        if one.code == op.LD_ABS and one.k == op.NR_OFFSET:
            return code[at:]
    raise FilterError("libseccomp made a program that does not look at the system call number")


def _linked(
    code: Sequence[Instruction], parts: dict[int, tuple[Instruction, ...]]
) -> tuple[Instruction, ...]:
    """Put each part behind the code, and a jump to it where the code returns its marker."""
    starts: dict[int, int] = {}
    end = len(code)
    for marker, part in parts.items():
        starts[marker] = end
        end += len(part)
    linked = [
        Instruction(op.JA, k=starts[one.k] - at - 1)
        if one.code == op.RET_K and one.k in starts
        else one
        for at, one in enumerate(code)
    ]
    return tuple(linked) + tuple(one for part in parts.values() for one in part)
