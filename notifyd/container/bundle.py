"""A container's bundle: what its annotations ask for, and the change to its `config.json`.

Owns the annotations' names and the rewriting of the file, in one step and with all else as it was.
Whatever is wrong is an error: a container never starts without what was asked for.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from notifyd.bpf import plain_json
from notifyd.bpf.oci.merge import open_base
from notifyd.bpf.oci.profile import OciProfile, as_profile
from notifyd.container.compose import ListenerTarget, compose
from notifyd.container.settings import RuntimeSettings
from notifyd.errors import UsageError
from notifyd.policy.load import find
from notifyd.policy.trusted import check_trusted, read_trusted

__all__ = ["PREFIX", "ContainerRequest", "prepare", "requested"]

PREFIX = "org.notifyd."
MAX_BUNDLE_CONFIG_BYTES = 1 << 24  # of a config.json; annotations alone may have 256 KiB
_RULES, _METADATA, _OPTION = (PREFIX + name for name in ("rules", "metadata", "option."))

# crun's: with these a container brings a filter of its own, or sends the listener elsewhere.
_OVERRIDES = frozenset(
    {"run.oci.seccomp_bpf_data", "run.oci.seccomp.receiver", "run.oci.seccomp.plugins"}
)


# In the user namespace of a rootless engine root's files belong to the user nobody.
_OBEYED = partial(read_trusted, unmapped=True)


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """What a container is to get. No rules: it is left alone."""

    rules: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    metadata: str


def requested(annotations: Mapping[str, str], settings: RuntimeSettings) -> ContainerRequest:
    """What the machine's settings and a container's annotations ask for together.

    Args:
        annotations: all of the container's. `org.notifyd.rules` is names with commas between;
            `org.notifyd.option.NAME` is a text, or one for each line.
        settings: the administrator's.

    Raises:
        UsageError: an annotation asks for what the settings do not give to it, or is none of ours
            though it begins like one.
    """
    ours = {name: text for name, text in annotations.items() if _begins_like_ours(name)}
    names = ours.pop(_RULES, None)
    asked = [name.strip() for name in (names or "").split(",") if name.strip()]
    if names is not None and not asked:
        raise UsageError(f"{_RULES}: it names no rules; name some, or leave it out")
    rules = tuple(dict.fromkeys((*settings.rules, *map(settings.rule, asked))))
    metadata = ours.pop(_METADATA, None)
    if metadata is not None and settings.metadata is not None:
        raise UsageError(f"{_METADATA}: the settings of this machine do not leave it to containers")
    options = {
        name: (texts,) if isinstance(texts, str) else texts
        for name, texts in settings.options.items()
    }
    for name, text in ours.items():
        option = name.removeprefix(_OPTION)
        if option == name:
            raise UsageError(
                f"{name}: no such annotation; there are {_RULES}, {_METADATA} and {_OPTION}NAME"
            )
        if option not in settings.settable:
            raise UsageError(f"{name}: the settings of this machine do not leave it to containers")
        options[option] = tuple(text.splitlines())
    alone = next(iter(ours), _METADATA if metadata is not None else None)
    if alone is not None and not rules:
        raise UsageError(f"{alone}: an option without rules; add {_RULES}")
    chosen = settings.metadata if settings.metadata is not None else metadata
    named = ",".join((*settings.rules, *asked))
    return ContainerRequest(rules, options, named if chosen is None else chosen)


def _begins_like_ours(name: str) -> bool:
    """In any case: a misspelt annotation must not be ignored."""
    return name.casefold().startswith(PREFIX)


def prepare(path: Path, settings: RuntimeSettings, *, runtime: str, restores: bool = False) -> bool:
    """Have a container's `config.json` say what the container is to get.

    Args:
        path: the file.
        settings: the administrator's.
        runtime: the name of the real runtime.
        restores: whether the container comes from a checkpoint, which cannot have a listener.

    Returns:
        Whether the file was changed.

    Raises:
        UsageError: it cannot be had; the file is as it was.
        OSError: the file cannot be read or written.
    """
    config = _read(path)
    request = requested(config.get("annotations") or {}, settings)
    if not request.rules:
        return False
    if restores:
        raise UsageError("a container under notifyd cannot be restored from a checkpoint")
    if overriding := sorted(_OVERRIDES & (config.get("annotations") or {}).keys()):
        raise UsageError(f"{overriding[0]}: crun would drop what notifyd adds; leave it out")
    for name in request.rules:
        check_trusted(find(name), unmapped=True)
    linux = config.setdefault("linux", {})
    base = _base(linux.get("seccomp"), path)
    listener = ListenerTarget(settings.listener, request.metadata, settings.flags, runtime)
    place = f"{path} (linux.seccomp)"
    made = compose(request.rules, request.options, base, place, listener, _OBEYED)
    linux["seccomp"] = msgspec.to_builtins(made.seccomp)
    _replace(path, json.dumps(config).encode())
    return True


def _base(seccomp: Any, path: Path) -> OciProfile:
    if seccomp is None:
        return open_base()
    if not isinstance(seccomp, dict):
        raise UsageError(f"{path}: linux.seccomp is not a profile")
    return as_profile(seccomp, f"{path} (linux.seccomp)")


def _read(path: Path) -> dict[str, Any]:
    # Neither waits for a FIFO's writer, nor reads a device to its end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{path}: no regular file")
        text = file.read(MAX_BUNDLE_CONFIG_BYTES + 1)
    if len(text) > MAX_BUNDLE_CONFIG_BYTES:
        raise UsageError(f"{path}: more than {MAX_BUNDLE_CONFIG_BYTES:,} bytes")
    try:
        config = plain_json.decode(text)
    except ValueError as error:
        raise UsageError(f"{path}: no JSON that can be taken: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("linux", {}), dict):
        raise UsageError(f"{path}: no configuration of a Linux container")
    annotations = config.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str) for text in annotations.values()
    ):
        raise UsageError(f"{path}: annotations are no texts by name")
    return config


def _replace(path: Path, text: bytes) -> None:
    """Replace this file by another one, with the same owner and mode, in one step."""
    before = path.stat()
    number, name = tempfile.mkstemp(prefix=".config.json.", dir=path.parent)
    try:
        with open(number, "wb") as file:
            file.write(text)
            os.fchown(number, before.st_uid, before.st_gid)
            os.fchmod(number, before.st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
