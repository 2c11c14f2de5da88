"""Merging what rules want from the kernel into a container's seccomp profile.

Owns which calls and architectures a merged profile has, and its messages. Knows the rules
only as clauses. What becomes of one call is `oci_call`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from notifyd.bpf.cubes import cut
from notifyd.bpf.oci.call import CallSources, MergedCall, merge_call, refusal
from notifyd.bpf.oci.meaning import as_entries, default_of, said_of
from notifyd.bpf.oci.profile import ARCH_NAMES, Act, OciProfile, Syscall
from notifyd.bpf.profile import KILL_THREAD, NOTIFY, ArchTable, Clause, Cube, Profile
from notifyd.errors import UsageError
from notifyd.kernel.arch import ARCHES, Arch, entries, native

__all__ = ["Merged", "SupervisorNeeds", "merge", "open_base", "without_others"]


def open_base() -> OciProfile:
    """The base that refuses nothing, through any entry that notifyd knows on this machine."""
    return OciProfile(Act.ALLOW, architectures=tuple(map(_scmp, entries(native()))))


@dataclass(frozen=True, slots=True)
class SupervisorNeeds:
    """What a supervisor wants from the kernel.

    Attributes:
        profile: the rules' clauses for every architecture entry, the native one first.
        watch: calls of which the supervisor is notified if they are allowed anyway.
    """

    profile: Profile
    watch: Sequence[tuple[str, tuple[Cube, ...]]] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """A profile for a container.

    Attributes:
        seccomp: the profile; its listener is the base's.
        meaning: what it has to say to `calls`, through the entries that it keeps.
        calls: the result for each call that rules or the supervisor name, by name.
        ruled: those of them that rules are about.
        notes: what OCI could not express, and what else a person should know; a line each.
    """

    seccomp: OciProfile
    meaning: Profile
    calls: Mapping[str, MergedCall]
    ruled: frozenset[str]
    notes: tuple[str, ...]

    @property
    def notifies(self) -> bool:
        """Whether any call may leave the kernel."""
        return any(entry.action is Act.NOTIFY for entry in self.seccomp.syscalls or ())


def merge(base: OciProfile, wanted: SupervisorNeeds, place: str) -> Merged:
    """The base with what the rules want. Nothing that the base refuses by name is allowed.

    Args:
        base: a profile in OCI's dialect (see `oci.resolve`).
        wanted: what rules and supervisor want.
        place: what the person calls the base.

    Raises:
        UsageError: base and rules contradict each other, or the result would be too long.
    """
    if default_of(base) == NOTIFY:
        raise UsageError(f"{place}: asks about every call, which runtimes refuse; choose another")
    own, *others = (_arch(entry) for entry in wanted.profile.entries)
    named = base.architectures or ()
    # libseccomp always has the machine's own entry, also where a profile names others.
    kept = (own, *(arch for arch in others if _scmp(arch) in named))
    clauses = _by_name(wanted.profile, kept)
    calls = _calls(base, wanted, {name: found[0] for name, found in clauses.items()}, place)
    _check_heard(calls, clauses, place)
    merged = Merged(
        seccomp=msgspec.structs.replace(
            base,
            architectures=tuple(map(_scmp, kept)),
            syscalls=(*_untouched(base, calls), *_joined(calls)),
        ),
        meaning=_meaning(base, calls, kept),
        calls=calls,
        ruled=frozenset(clauses),
        notes=(*_strange(named, kept), *_told(calls)),
    )
    for name, found in clauses.items():
        if len(found) > 1:
            return without_others(merged, f"rules want something else of {name} there")
    return merged


def without_others(merged: Merged, why: str) -> Merged:
    """The same for programs that use the machine's own entry; those of other entries are killed."""
    own, *others = merged.seccomp.architectures or ()
    return replace(
        merged,
        seccomp=msgspec.structs.replace(merged.seccomp, architectures=(own,)),
        meaning=replace(merged.meaning, entries=merged.meaning.entries[:1]),
        notes=(
            *merged.notes,
            *(f"{other} is left out, its programs are killed: {why}" for other in others),
        ),
    )


def _calls(
    base: OciProfile, wanted: SupervisorNeeds, clauses: Mapping[str, tuple[Clause, ...]], place: str
) -> dict[str, MergedCall]:
    watch: dict[str, tuple[Cube, ...]] = {}
    for name, cubes in wanted.watch:
        watch[name] = (*watch.get(name, ()), *cubes)
    heard = bool(watch) or any(
        clause.action == NOTIFY for found in clauses.values() for clause in found
    )
    return {
        name: merge_call(
            CallSources(
                name,
                tuple(said_of(base, name, place)),
                default_of(base),
                clauses.get(name, ()),
                watch.get(name, ()),
                heard,
                place,
            )
        )
        for name in sorted({*clauses, *watch})
    }


def _check_heard(
    calls: Mapping[str, MergedCall],
    clauses: Mapping[str, tuple[tuple[Clause, ...], ...]],
    place: str,
) -> None:
    """A rule may go unheard about some of an operation's calls, and not about all of them."""
    heard = {
        clause.note
        for name, found in clauses.items()
        if not calls[name].silenced
        for clause in found[0]
        if clause.action == NOTIFY
    }
    for name, call in calls.items():
        for note, said in call.silenced:
            if note not in heard:
                raise UsageError(
                    f"{refusal(place, name, said)}, and {note} wants to be asked about it; take it"
                    " out there, or leave the rule out"
                )


def _by_name(profile: Profile, arches: Sequence[Arch]) -> dict[str, tuple[tuple[Clause, ...], ...]]:
    """By a call's name, what is wanted of it: more than one thing where architectures differ.

    One entry of a profile is for all of them. What it compares on a 32-bit one is the low half.
    """
    found: dict[str, list[tuple[Clause, ...]]] = {}
    for arch, entry in zip(arches, profile.entries, strict=False):
        for number, clauses in entry.clauses.items():
            name = arch.name_of(number)
            if name is not None and clauses:
                known = found.setdefault(name, [])
                if all(_cut(one, arch) != _cut(clauses, arch) for one in known):
                    known.append(clauses)
    return {name: tuple(different) for name, different in found.items()}


def _cut(clauses: tuple[Clause, ...], arch: Arch) -> tuple[Clause, ...]:
    used = (replace(one, cubes=cut(one.cubes, arch.bits)) for one in clauses)
    return tuple(one for one in used if one.cubes)


def _meaning(base: OciProfile, calls: Mapping[str, MergedCall], arches: Iterable[Arch]) -> Profile:
    meant = tuple(
        ArchTable(
            arch.name,
            {
                arch.numbers[name]: call.clauses
                for name, call in calls.items()
                if name in arch.numbers
            },
        )
        for arch in arches
    )
    # libseccomp's answer to other entries, which no runtime changes: seccomp_attr_set(3).
    return Profile(default_of(base), meant, KILL_THREAD)


def _untouched(base: OciProfile, calls: Mapping[str, MergedCall]) -> Iterator[Syscall]:
    for entry in base.syscalls or ():
        names = tuple(name for name in entry.names if name not in calls)
        if names:
            yield msgspec.structs.replace(entry, names=names)


def _joined(calls: Mapping[str, MergedCall]) -> Iterator[Syscall]:
    """One set of entries for all the calls that want the same."""
    same: dict[object, list[str]] = {}
    for name, call in calls.items():
        same.setdefault(call.pieces, []).append(name)
    for names in same.values():
        yield from as_entries(calls[names[0]].pieces, names)


def _strange(named: Iterable[str], kept: Iterable[Arch]) -> Iterator[str]:
    known = set(map(_scmp, kept))
    for name in named:
        if name not in known:
            yield f"{name} is left out, its programs are killed: notifyd does not know its calls"


def _told(calls: Mapping[str, MergedCall]) -> Iterator[str]:
    if lifted := [name for name, call in calls.items() if call.lifted]:
        yield f"rules are asked where the base refuses by default: {', '.join(lifted)}"
    if silenced := [name for name, call in calls.items() if call.silenced]:
        yield f"rules are not asked, since the base refuses these by name: {', '.join(silenced)}"
    if widened := [name for name, call in calls.items() if call.widened]:
        yield f"all of these calls are notified, as conditions were too many: {', '.join(widened)}"


def _arch(entry: ArchTable) -> Arch:
    return next(arch for arch in ARCHES.values() if arch.name == entry.arch)


def _scmp(arch: Arch) -> str:
    return ARCH_NAMES[arch.name]
