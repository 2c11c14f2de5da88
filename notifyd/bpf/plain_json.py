"""JSON that has one meaning for all who read it: a runtime in Go, one in C, and us.

What we read and change, a runtime reads after us in its own way, and what it understands is what
the kernel gets. They differ about these, so none of it is taken:

    keys twice              Go takes the last one, C (yajl) the first one
    keys in another case    Go takes them for the key, C does not; K and s have a third case each
                            (U+212A, U+017F: encoding/json folds as bytes.EqualFold does)
    NUL in a text           C sees its end there
    no UTF-8                Go puts U+FFFD there, and takes half a surrogate pair for that, too
    numbers without bounds  NaN, Infinity, and what is as large, are not JSON
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

__all__ = ["decode"]

MAX_JSON_KEYS = 50_000  # in all; a container's configuration has some hundred
MAX_JSON_DEPTH = 64  # objects and lists within each other; a configuration has some ten

# Their keys are anybody's, and Go keeps them as they are: map[string]string.
_FREE = frozenset({"annotations", "sysctl", "unified"})

# Keys of runtime-spec's config.json and state, and of Docker's profiles: config.md, config-linux.md
# and runtime.md of runtime-spec 1.2. In another case each is the same key to a runtime in Go.
_NAMES = """
    ociVersion process root hostname domainname mounts hooks annotations linux vm solaris windows
    terminal user args env cwd capabilities rlimits noNewPrivileges apparmorProfile selinuxLabel
    oomScoreAdj scheduler ioPriority uid gid umask additionalGids username
    bounding effective inheritable permitted ambient path readonly type
    namespaces uidMappings gidMappings sysctl resources cgroupsPath devices seccomp
    rootfsPropagation maskedPaths readonlyPaths mountLabel intelRdt personality timeOffsets
    defaultAction defaultErrnoRet defaultErrno architectures archMap flags listenerPath
    listenerMetadata syscalls names name action errnoRet errno index value valueTwo op
    includes excludes comment caps arches minKernel architecture subArchitectures
    fds pid metadata state id status bundle
"""
_KNOWN = MappingProxyType({name.casefold(): name for name in _NAMES.split()})


def decode(raw: bytes) -> Any:
    """Read JSON that all take for the same.

    Raises:
        ValueError: it is not JSON, or readers differ about it; the text says where.
    """
    count = 0

    def build(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal count
        count += len(pairs)
        if count > MAX_JSON_KEYS:
            raise ValueError(f"more than {MAX_JSON_KEYS:,} keys")
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {_shown(twice)} stands twice in one object: leave one out")
        return made

    try:
        found = json.loads(
            raw.decode("utf-8"), object_pairs_hook=build, parse_float=_finite, parse_constant=_none
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check(found, "", MAX_JSON_DEPTH)
    return found


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _none(text: str) -> Any:
    raise ValueError(f"{text} is not a number in JSON")


def _check(value: Any, place: str, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"nested more than {MAX_JSON_DEPTH} deep")
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, list):
        for one in value:
            _check(one, place, depth - 1)
    elif isinstance(value, dict):
        if place.rpartition(".")[2] not in _FREE:
            _check_keys(value, place)
        for key, one in value.items():
            _check_text(key, place)
            if any("\ud800" <= letter <= "\udfff" for letter in key):
                raise ValueError(f"{place or 'it'}: half a character in the key {_shown(key)}")
            _check(one, f"{place}.{key}" if place else key, depth - 1)


def _check_text(text: str, place: str) -> None:
    if "\0" in text:
        raise ValueError(f"{place or 'it'}: a text with a NUL in it: {_shown(text)}")


def _check_keys(value: dict[str, Any], place: str) -> None:
    """See that no two keys, and no key and a known one, differ in case only."""
    seen: dict[str, str] = {}
    for key in value:
        folded = key.casefold()
        other = seen.setdefault(folded, key)
        if other == key:
            other = _KNOWN.get(folded, key)
        if other != key:
            raise ValueError(
                f"{place or 'it'}: the key {_shown(key)} differs from {_shown(other)} in case "
                "only, and some runtimes take it for that: leave it out"
            )


def _shown(text: str) -> str:
    return ascii(text[:80])
