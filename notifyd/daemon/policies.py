"""Sections with their rules loaded: all of them, or none."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from notifyd.bpf.profile import Profile
from notifyd.daemon.config import Config, Section, as_list
from notifyd.daemon.config_file import ConfigError, examine
from notifyd.daemon.file_signatures import (
    FileSignatures,
    located,
    signatures_at,
    signatures_of_rules,
)
from notifyd.daemon.matching import fits
from notifyd.daemon.validate import Mistake
from notifyd.engine.watching import watched_for
from notifyd.errors import FilterError, UsageError
from notifyd.intake.arrival import Arrival, ArrivalRefused
from notifyd.policy.load import each, find, load
from notifyd.policy.lower import lower
from notifyd.policy.rule import Declaration, Rule
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.trusted import check_trusted
from notifyd.policy.verdicts import Allow, Deny
from notifyd.target.watch import Watched

__all__ = ["Policies", "Policy", "load_policies"]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A section, ready to decide.

    Attributes:
        rules: what decides.
        watched: what its filter has to report for our own sake.
        program: the filter, `struct sock_filter` records of 8 bytes.
        digest: names the program.
        profile: what its program says.
        notifies: whether its program reports any call.
        files: the rule files.
        kernel: the operations that the kernel decides by itself.
    """

    section: Section
    rules: RuleSet
    watched: tuple[Watched, ...]
    program: bytes
    digest: str
    profile: Profile
    notifies: bool
    files: tuple[Path, ...]
    kernel: tuple[str, ...]

    @property
    def name(self) -> str:
        """The section's."""
        return self.section.name


@dataclass(frozen=True, slots=True, eq=False)
class Policies:
    """A configuration with everything that it names.

    Attributes:
        path: the configuration's file.
        sections: in their order.
        looks: every file, as it was before it was read.
    """

    path: Path
    config: Config
    sections: tuple[Policy, ...]
    looks: FileSignatures

    def choose(self, arrival: Arrival, cgroups: Sequence[str]) -> Policy:
        """The first section that fits.

        Args:
            arrival: what has come.
            cgroups: the paths of the cgroups of its first process when it came.

        Raises:
            ArrivalRefused: none does, or not the one that was asked for.
        """
        for policy in self.sections:
            if arrival.section in ("", policy.name) and fits(
                policy.section.match, arrival, cgroups
            ):
                return policy
        if not arrival.section:
            raise ArrivalRefused(
                f"no section of the configuration is for {arrival.id!r} of {arrival.peer}"
            )
        raise ArrivalRefused(
            f"the configuration has no section {arrival.section!r} that is for {arrival.id!r} of "
            f"{arrival.peer}"
        )


def load_policies(path: Path) -> Policies:
    """Read a configuration and everything that it names.

    Raises:
        UsageError: something is wrong; every mistake has its line.
    """
    looks = signatures_at((path,))
    found = examine(path)
    looks = {**looks, **signatures_of_rules(found.sections.values(), path.parent)}
    loaded, mistakes = list[Policy](), list(found.mistakes)
    for at, section in found.sections.items():
        try:
            loaded.append(_load(section, path.parent))
        except (UsageError, FilterError) as error:
            mistakes += [
                Mistake(("workload", at, "rules"), f"workload[{at + 1}] ({section.name}): {said}")
                for said in (str(error) or repr(error)).splitlines()
            ]
    if found.config is None or mistakes:
        raise ConfigError(path, mistakes, found.places)
    return Policies(path, found.config, tuple(loaded), looks)


def _load(section: Section, folder: Path) -> Policy:
    names = [located(name, folder) for name in section.rules]
    files = tuple(file.resolve() for file in each(names, _obeyed))
    rules = load(
        names,
        options=_options(section),
        otherwise=Deny(errno.EPERM) if section.otherwise == "deny" else Allow(),
        strict=section.strict,
    )
    if section.patience is not None:
        rules = _hurried(rules, section.patience)
    watched = watched_for(rules, audited=True)
    lowered = lower(rules, watch=[(one.syscall, one.cubes) for one in watched])
    program = _compiled(lowered.profile)
    digest = hashlib.sha256(program).hexdigest()[:32]
    kernel = tuple(sorted({operation for operation, _ in lowered.decided}))
    profile, notifies = lowered.profile, lowered.notifies
    return Policy(section, rules, watched, program, digest, profile, notifies, files, kernel)


def _obeyed(name: str) -> Path:
    file = find(name)
    check_trusted(file)
    return file


def _options(section: Section) -> Mapping[str, Sequence[str]]:
    return {key: [str(one) for one in as_list(value)] for key, value in section.options.items()}


def _hurried(rules: RuleSet, patience: float) -> RuleSet:
    files = [[_hastened(one, patience) for one in file] for file in rules.files]
    return RuleSet.build(*files, otherwise=rules.otherwise, strict=rules.strict)


def _hastened(one: Declaration, patience: float) -> Declaration:
    if not isinstance(one, Rule):
        return one
    return replace(one, patience=min(one.patience or patience, patience))


def _compiled(profile: Profile) -> bytes:
    try:
        from notifyd.bpf.build import compile_profile
    except (OSError, RuntimeError) as error:  # what pyseccomp raises where it finds no library
        raise UsageError(
            f"libseccomp cannot be loaded ({error}): install it (Debian: libseccomp2)"
        ) from error
    return compile_profile(profile).program.to_bytes()
