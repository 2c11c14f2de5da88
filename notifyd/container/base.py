"""Where a container's profile begins: a file, an engine's default, or nothing.

Owns the places where engines keep their default. Docker keeps none: it is Go code in dockerd
(20.10 to 28), and out of it comes only the `config.json` of a running container. What Podman, CRI-O
and Buildah install is the same profile in Docker's own dialect.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from notifyd.bpf.oci.merge import open_base
from notifyd.bpf.oci.profile import CAPABILITIES, OciProfile, read, resolve
from notifyd.errors import UsageError
from notifyd.kernel.arch import native
from notifyd.kernel.capability import NAMES

__all__ = ["DEFAULTS", "find_base"]

DEFAULTS = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
"""Where containers-common looks: the administrator's, then the package's."""


def find_base(text: str, caps: Collection[str] = ()) -> tuple[OciProfile, str]:
    """The base that a person asked for, in OCI's dialect, and what to call it.

    Args:
        text: `docker`, `none`, or a file: a profile, or the `config.json` of a bundle.
        caps: powers that the containers have beside those that every container has.

    Raises:
        UsageError: no such file, no profile in it, or a power that there is not.
    """
    if text == "none":
        return open_base(), "--base none"
    path = _default() if text == "docker" else Path(text)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--base {path}: {error.strerror}: check the path") from error
    powers = {*CAPABILITIES, *map(_power, caps)}
    found = read(raw, str(path))
    return resolve(found, caps=powers, arch=native().name, kernel=os.uname().release), str(path)


def _default() -> Path:
    for path in DEFAULTS:
        if path.is_file():
            return path
    raise UsageError(
        f"--base docker: no {DEFAULTS[1]} here: install containers-common (Debian: "
        "golang-github-containers-common), or give --base the config.json of a running container"
    )


def _power(name: str) -> str:
    full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
    if full not in NAMES:
        raise UsageError(f"--cap {name}: no such capability; capabilities(7) lists them")
    return full
