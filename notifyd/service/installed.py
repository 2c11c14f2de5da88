"""What is known of the filter behind an arrival: which calls it reports, and how they wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from notifyd.kernel.arch import Arch, entries, native
from notifyd.service.policies import Heard, Policy
from notifyd.target.watch import Watched

__all__ = ["UNKNOWN", "Installed", "unheard", "watched_by"]

MOST_BYTES = 1 << 22  # of a config.json
NOTIFY = "SCMP_ACT_NOTIFY"
_ARCHES = {"x86_64": "SCMP_ARCH_X86_64", "i386": "SCMP_ARCH_X86", "aarch64": "SCMP_ARCH_AARCH64"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A filter, as far as we know it.

    Attributes:
        heard: (AUDIT_ARCH, number) of the calls that it reports whatever their arguments; None if
            nobody knows.
        killable: whether it has WAIT_KILLABLE_RECV.
        ours: whether its sender says that we made it: it reports calls that no rule asked for.
    """

    heard: Heard | None = None
    killable: bool = False
    ours: bool = False


UNKNOWN = Installed()


class _Syscalls(msgspec.Struct):
    names: list[str] = []
    action: str = ""
    args: list[object] | None = None


class _Seccomp(msgspec.Struct):
    architectures: list[str] = []
    flags: list[str] = []
    syscalls: list[_Syscalls] = []


class _Linux(msgspec.Struct):
    seccomp: _Seccomp | None = None


class _Bundle(msgspec.Struct):
    linux: _Linux | None = None


def of_bundle(bundle: str) -> Installed:
    """What the config.json of a bundle says, if it can be read. May wait for a disk."""
    try:
        with (Path(bundle) / "config.json").open("rb") as file:
            data = file.read(MOST_BYTES)
        found = msgspec.json.decode(data, type=_Bundle)
    except (OSError, ValueError, msgspec.DecodeError):
        return UNKNOWN
    if found.linux is None or found.linux.seccomp is None:
        return UNKNOWN
    return _of_profile(found.linux.seccomp)


def _of_profile(profile: _Seccomp) -> Installed:
    names = {
        name
        for one in profile.syscalls
        if one.action == NOTIFY and not one.args
        for name in one.names
    }
    heard = {
        (arch.audit, number)
        for arch in entries(native())
        for name, number in arch.numbers.items()
        # An entry that the profile does not have is not allowed to call at all.
        if name in names or (_ARCHES[arch.name] not in profile.architectures and arch != native())
    }
    killable = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in profile.flags
    return Installed(frozenset(heard), killable)


def watched_by(installed: Installed, watched: Iterable[Watched]) -> tuple[Watched, ...]:
    """Which of the calls that we want to be told of, the filter reports on every entry."""
    if installed.heard is None:
        return ()
    return tuple(one for one in watched if _is_heard(installed.heard, one.syscall))


def _is_heard(heard: Heard, syscall: str) -> bool:
    arches: Sequence[Arch] = entries(native())
    numbers = [(arch.audit, arch.numbers[syscall]) for arch in arches if syscall in arch.numbers]
    return all(one in heard for one in numbers)


def unheard(installed: Installed, policy: Policy) -> tuple[str, ...]:
    """Names of native system calls that a rule is about and that the filter does not report.

    Of a filter that nobody knows, none: it cannot be said.
    """
    if installed.heard is None:
        return ()
    own = native()
    return tuple(
        sorted(
            own.name_of(number) or str(number)
            for audit, number in policy.heard - installed.heard
            if audit == own.audit and (audit, number) in policy.rules.plans
        )
    )
