"""For which calls a profile lets the kernel continue without asking.

Owns reading an installed filter's profile the careful way: where entries for one call overlap, it
depends on libseccomp which of them holds, and the loosest is believed. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from notifyd.bpf.cubes import both, subtract
from notifyd.bpf.oci.meaning import action_of, cubes_of, default_of, strictness
from notifyd.bpf.oci.profile import ARCH_NAMES, OciProfile
from notifyd.bpf.profile import KILL_THREAD, NOTIFY, Action, ArchTable, Clause, Cube, Profile
from notifyd.errors import UsageError
from notifyd.kernel.arch import Arch, entries, native

__all__ = ["goes_on", "meaning_of", "passes", "where"]

MAX_REGISTER_CUBES = 1024  # cubes that the registers of one call are cut into


def goes_on(action: Action) -> bool:
    """Whether the kernel does the call and no supervisor is asked: ALLOW, LOG, and TRACE."""
    return strictness(action) > strictness(NOTIFY)


def meaning_of(profile: OciProfile, place: str) -> Profile:
    """What a profile of the OCI says at the loosest, on each of this machine's entries.

    An entry that it does not name kills (libseccomp); the machine's own is always there.

    Raises:
        UsageError: conditions that would be too many.
    """
    named = profile.architectures or ()
    arches = [one for one in entries(native()) if one == native() or ARCH_NAMES[one.name] in named]
    return Profile(
        default_of(profile),
        tuple(ArchTable(arch.name, _clauses(profile, arch, place)) for arch in arches),
        KILL_THREAD,
    )


def _clauses(profile: OciProfile, arch: Arch, place: str) -> dict[int, tuple[Clause, ...]]:
    """What a profile says to the calls of one entry, the loosest first."""
    found: dict[str, list[Clause]] = {}
    for at, entry in enumerate(profile.syscalls or ()):
        try:
            cubes = cubes_of(entry.args or (), arch.bits)
        except ValueError as error:
            raise UsageError(f"{place}: syscalls[{at}]: {error}") from error
        for name in entry.names:
            clause = Clause(action_of(entry.action, entry.errno_ret), cubes)
            found.setdefault(name, []).append(clause)
    for clauses in found.values():
        clauses.sort(key=lambda one: -strictness(one.action))
    return {arch.numbers[name]: tuple(found[name]) for name in found.keys() & arch.numbers}


def where(
    profile: Profile, arch: str, nr: int, chosen: Callable[[Action], bool], within: Iterable[Cube]
) -> tuple[Cube, ...]:
    """For which of the registers in `within` a call gets an action that is `chosen`.

    At least for those: what would be too many pieces counts as chosen.
    """
    left, found = tuple(within), list[Cube]()
    entry = next((one for one in profile.entries if one.arch == arch), None)
    if entry is None:
        return left if chosen(profile.unknown_arch) else ()
    for clause in entry.clauses.get(nr, ()):
        if chosen(clause.action):
            found += both(left, clause.cubes)
        for cube in clause.cubes:
            left = tuple(piece for one in left for piece in subtract(one, cube))
            if len(left) > MAX_REGISTER_CUBES:
                return (*found, *left)
    return (*found, *left) if chosen(profile.default) else tuple(found)


def passes(profile: Profile, arch: str, nr: int, within: Iterable[Cube]) -> bool:
    """Whether the kernel continues any call with these registers without asking."""
    return bool(where(profile, arch, nr, goes_on, within))
