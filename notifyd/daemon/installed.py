"""What is known about the filter behind an arrival: which calls it allows, and how they wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from notifyd.bpf.oci.profile import KILLABLE, read
from notifyd.bpf.passing import goes_on, meaning_of, passes, where
from notifyd.bpf.profile import Action, Profile
from notifyd.daemon.policies import Policy
from notifyd.errors import UsageError
from notifyd.kernel.arch import entries, native
from notifyd.perform.self_performed import NEEDED
from notifyd.target.watch import Watched

__all__ = ["UNKNOWN_FILTER", "InstalledFilter", "leads", "of_bundle", "unheard", "watched_by"]

MAX_OCI_CONFIG_BYTES = 1 << 22  # of a config.json


@dataclass(frozen=True, slots=True)
class InstalledFilter:
    """A filter, as far as we know it.

    Attributes:
        profile: what it says, at the most permissive; None if unknown.
        killable: whether it has WAIT_KILLABLE_RECV.
        ours: whether its sender says that we made it: it reports calls that no rule asked for.
    """

    profile: Profile | None = None
    killable: bool = False
    ours: bool = False


UNKNOWN_FILTER = InstalledFilter()


def of_bundle(bundle: str) -> InstalledFilter:
    """What the config.json of a bundle says, if it can be read. May wait for a disk."""
    path = Path(bundle) / "config.json"
    try:
        with path.open("rb") as file:
            found = read(file.read(MAX_OCI_CONFIG_BYTES), str(path))
        return InstalledFilter(meaning_of(found, str(path)), KILLABLE in (found.flags or ()))
    except (OSError, ValueError, UsageError):
        return UNKNOWN_FILTER


def leads(installed: InstalledFilter) -> bool:
    """Whether it allows the calls of a target that makes its own call: `NEEDED`."""
    if installed.profile is None:
        return installed.ours
    own = native()
    numbers = [own.numbers.get(name) for name in NEEDED]
    return all(
        number is not None
        and not where(installed.profile, own.name, number, lambda one: not goes_on(one), ((),))
        for number in numbers
    )


def watched_by(installed: InstalledFilter, watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """Which of the calls that notifyd tracks cannot happen unreported, on any entry."""
    if installed.profile is None:
        return ()
    profile = installed.profile
    return tuple(one for one in watched if not _escapes(profile, one))


def _escapes(profile: Profile, watched: Watched) -> bool:
    return any(
        passes(profile, arch.name, arch.numbers[watched.syscall], watched.cubes)
        for arch in entries(native())
        if watched.syscall in arch.numbers
    )


def unheard(installed: InstalledFilter, policy: Policy) -> tuple[str, ...]:
    """Names of native system calls that rules are about and that the filter allows unreported.

    Of an unknown filter, none: it cannot be said.
    """
    if installed.profile is None:
        return ()
    own, profile = native(), installed.profile
    return tuple(
        sorted(
            own.name_of(number) or str(number)
            for audit, number in policy.rules.plans
            if audit == own.audit
            and passes(
                profile, own.name, number, where(policy.profile, own.name, number, _is_ruled, ((),))
            )
        )
    )


def _is_ruled(action: Action) -> bool:
    return not goes_on(action)
