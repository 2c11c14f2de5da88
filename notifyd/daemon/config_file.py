"""Reading the configuration file: TOML, checked whole, all mistakes reported with their places.

A mistake in one part hides none in another: what is well-formed is checked further.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notifyd.daemon.config import (
    ARRIVALS,
    Approvals,
    Config,
    Section,
    SocketsConfig,
    User,
    as_list,
    gid_of,
    uid_of,
)
from notifyd.daemon.toml_places import Places
from notifyd.daemon.validate import Mistake, Where, validated
from notifyd.errors import UsageError
from notifyd.policy.trusted import read_trusted

__all__ = ["ConfigError", "Reading", "examine", "read_config"]


class ConfigError(UsageError):
    """A configuration that is wrong. Its text has a line for every mistake."""

    def __init__(self, path: Path | str, mistakes: list[Mistake], places: Places) -> None:
        lines = [(places.line(one.where), one.said) for one in mistakes]
        super().__init__("\n".join(f"{path}:{line}: {said}" for line, said in sorted(lines)))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is TOML.

    Attributes:
        config: what it says; None if its form is wrong.
        sections: those whose form is right, by their place in the file.
        mistakes: what is wrong with it.
        places: where in the file its parts stand.
    """

    config: Config | None
    sections: Mapping[int, Section]
    mistakes: list[Mistake]
    places: Places


def read_config(path: Path) -> Config:
    """Read and check a file, but not the rules that it names.

    Raises:
        UsageError: it cannot be read. ConfigError: it is wrong; every mistake is in the text.
    """
    found = examine(path)
    if found.config is None or found.mistakes:
        raise ConfigError(path, found.mistakes, found.places)
    return found.config


def examine(path: Path) -> Reading:
    """Read a file, and find all that is wrong with it, but for the rules that it names.

    Raises:
        UsageError: it cannot be read, others may write it, or it is no TOML.
    """
    try:
        text = read_trusted(path).decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: give another with --config") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: no UTF-8 at byte {error.start}: save it as UTF-8") from error
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: no TOML: {error}") from error
    config, mistakes = validated(data, Config)
    sockets, asking, sections = _good_parts(data)
    if sockets is not None:
        mistakes += _of_sockets(sockets)
    mistakes += _of_asking(asking)
    mistakes += _of_sections(sections)
    return Reading(config, sections, mistakes, Places(text))


def _good_parts(
    data: Mapping[str, Any],
) -> tuple[SocketsConfig | None, Approvals, Mapping[int, Section]]:
    """What has the right form; no users where it is wrong."""

    def part(found: Any, kind: Any) -> Any:
        return validated(found, kind)[0] if isinstance(found, dict) else None

    listed = data.get("workload")
    tables = listed if isinstance(listed, list) else []
    sections = {at: part(one, Section) for at, one in enumerate(tables)}
    return (
        part(data.get("sockets"), SocketsConfig),
        part(data.get("approvals"), Approvals) or Approvals(),
        {at: one for at, one in sections.items() if one is not None},
    )


def _of_sockets(sockets: SocketsConfig) -> Iterator[Mistake]:
    made = {name: getattr(sockets, name) for name in SocketsConfig.__struct_fields__}
    if not any(made[name] for name in ARRIVALS):
        yield Mistake(("sockets",), f"no socket to arrive at: give {' or '.join(ARRIVALS)}")
    seen: dict[str, str] = {}
    for name, socket in made.items():
        if socket is None:
            continue
        if socket.path in seen:
            said = f"sockets.{name}: {socket.path} is sockets.{seen[socket.path]} already"
            yield Mistake(("sockets", name, "path"), said)
        seen.setdefault(socket.path, name)
        yield from _strangers(socket.users, ("sockets", name, "users"))
        if socket.group is not None and gid_of(socket.group) is None:
            said = f"no group is named {socket.group!r} here: make it, or give another"
            yield Mistake(("sockets", name, "group"), said)


def _of_asking(asking: Approvals) -> Iterator[Mistake]:
    yield from _strangers(asking.users, ("approvals", "users"))
    for group in asking.groups:
        if gid_of(group) is None:
            said = f"no group is named {group!r} here: give a number, or another name"
            yield Mistake(("approvals", "groups"), said)


def _of_sections(sections: Mapping[int, Section]) -> Iterator[Mistake]:
    names: set[str] = set()
    for at, section in sections.items():
        if section.name in names:
            said = f"two workloads are named {section.name!r}: rename one"
            yield Mistake(("workload", at, "name"), said)
        names.add(section.name)
        yield from _strangers(as_list(section.match.user), ("workload", at, "match", "user"))


def _strangers(users: str | list[User], where: Where) -> Iterator[Mistake]:
    for user in [] if users == "any" else users:
        if uid_of(user) is None:
            said = f"no user is named {user!r} here: give a number, or another name"
            yield Mistake(where, said)
