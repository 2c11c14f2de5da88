"""What the files of a configuration look like, so that no change of them is missed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from notifyd.daemon.config import Section
from notifyd.daemon.config_file import examine
from notifyd.errors import UsageError
from notifyd.policy.load import find

__all__ = [
    "FileSignatures",
    "folders_of",
    "located",
    "signatures_at",
    "signatures_of",
    "signatures_of_rules",
]

FileSignatures = Mapping[Path, tuple[int, ...]]
"""By file: device, inode, size, times of change. Nothing for one that cannot be read."""


def signatures_of(path: Path) -> FileSignatures:
    """The files that a configuration is made of, good or bad, as they are now.

    Take it before they are read: what changes while they are read looks different afterwards.

    Args:
        path: of the configuration. Where it is wrong, the rule files that it means are not known.
    """
    looks = signatures_at((path,))
    try:
        found = examine(path)
    except UsageError:
        return looks
    return {**looks, **signatures_of_rules(found.sections.values(), path.parent)}


def signatures_of_rules(sections: Iterable[Section], folder: Path) -> FileSignatures:
    """The rule files that sections of a configuration in a folder name, as they are now."""
    return signatures_at({file for one in sections for file in _rule_files(one, folder)})


def signatures_at(files: Iterable[Path]) -> FileSignatures:
    """What files look like now."""
    return {file: _signature(file) for file in files}


def folders_of(looks: FileSignatures) -> set[Path]:
    """The folders that are there of the files that are meant, links followed."""
    found = set()
    for file in looks:
        with suppress(OSError, RuntimeError, ValueError):  # links in a circle; a NUL in its name
            if (folder := file.resolve().parent).is_dir():
                found.add(folder)
    return found


def located(name: str, folder: Path) -> str:
    """What a section's name of a rule means: a file is relative to the configuration's folder."""
    return str(folder / name) if "/" in name or name.endswith(".py") else name


def _rule_files(section: Section, folder: Path) -> list[Path]:
    found = []
    for name in section.rules:
        try:
            found.append(find(located(name, folder)))
        except UsageError:
            found.append(folder / name)  # it may come
    return found


def _signature(path: Path) -> tuple[int, ...]:
    try:
        seen = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return ()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
