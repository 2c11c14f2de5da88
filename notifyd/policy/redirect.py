"""Paths that a rule has lead elsewhere: what `Allow(**redirected(call, places))` is given."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import PurePosixPath

from notifyd.errors import TargetFault
from notifyd.kernel.files import AT_FDCWD
from notifyd.kernel.limits import MAX_LINKS
from notifyd.policy.call import Call
from notifyd.policy.fields import Path


def redirected(
    call: Call, places: Mapping[PurePosixPath, PurePosixPath]
) -> dict[str, PurePosixPath]:
    """The paths of a call that lie below one of `places`, as they lie below its replacement.

    A symbolic link there that leads back below one of `places` leads to the replacement too. What a
    call reaches through a descriptor alone stays where it is. Looks at memory.

    Args:
        call: any call.
        places: by an absolute path with no symbolic link in it, where that is to lead. What lies
            below a replacement is left alone, even if it also lies below one of `places`.

    Returns:
        The changed paths by their fields' names, for `Allow(**...)`; empty where nothing changes.

    Raises:
        TargetFault: links that lead round in a circle (ELOOP); and as `Call.read` does.
    """
    found: dict[str, PurePosixPath] = {}
    for name, path in call.paths.items():
        field = call.fields[name]
        if isinstance(field, Path) and field.names(call):
            new = _follow(call, path, places, follow=field.follows(call))
            if new != path:
                found[name] = new
    return found


def _follow(
    call: Call,
    path: PurePosixPath,
    places: Mapping[PurePosixPath, PurePosixPath],
    *,
    follow: bool,
) -> PurePosixPath:
    for _ in range(MAX_LINKS):
        # Not by `path.parents`: of 2,000 components they take 100 ms.
        old = next((one for one in places if path.is_relative_to(one)), None)
        if old is None or any(path.is_relative_to(one) for one in places.values()):
            return path
        new = places[old] / path.relative_to(old)
        path = call.resolve(AT_FDCWD, os.fsencode(new), follow)
    raise TargetFault("links that lead round in a circle", errno.ELOOP)
