"""What OCI runtimes are told: seccomp profiles and config.json, for a container with few powers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ground import Ground
from .runtime import FIRST_USER, Asked

# What Docker gives by default, without MKNOD.
CAPABILITIES = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
]
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")


def profile(
    *names: str, listener: Path | None = None, metadata: str | None = None
) -> dict[str, Any]:
    """A seccomp profile that notifies of the calls named and allows all others.

    Args:
        *names: system calls.
        listener: the unix socket that takes the listener.
        metadata: text for who listens there.
    """
    made: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
    }
    if names:
        made["syscalls"] = [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}]
    if listener is not None:
        made["listenerPath"] = str(listener)
    if metadata is not None:
        made["listenerMetadata"] = metadata
    return made


def config(asked: Asked, rootfs: Path) -> dict[str, Any]:
    """config.json of a container (runtime-spec, config.md)."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": asked.words,
            "env": ["PATH=/bin", asked.variable],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            "rlimits": [],  # raising them needs CAP_SYS_RESOURCE, which not every root has
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs)},
        "hostname": "box",
        "mounts": MOUNTS,
        "annotations": dict(asked.annotations),
        "linux": _linux(asked),
    }


def _linux(asked: Asked) -> dict[str, Any]:
    kinds: Sequence[str] = NAMESPACES
    mappings: Mapping[str, Any] = {}
    if asked.user_namespace:
        kinds = (*NAMESPACES, "user")
        ids = [{"containerID": 0, "hostID": FIRST_USER, "size": 65_536}]
        mappings = {"uidMappings": ids, "gidMappings": ids}
    return {
        "namespaces": [{"type": kind} for kind in kinds],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "cgroupsPath": f"/{asked.mark}/{asked.name}",
        "seccomp": dict(asked.profile),
        **mappings,
    }


def make_bundle(ground: Ground, asked: Asked, folder: Path) -> Path:
    """A bundle at `folder`: a root file system and config.json."""
    folder.mkdir(mode=0o711)
    owner = FIRST_USER if asked.user_namespace else 0
    rootfs = ground.copy_rootfs(folder / "rootfs", owner)
    (folder / "config.json").write_text(json.dumps(config(asked, rootfs)))
    return folder


def write_profile(asked: Asked, folder: Path) -> Path:
    """The seccomp profile as a file of its own, for engines that take one."""
    path = folder / f"{asked.name}.seccomp.json"
    path.write_text(json.dumps(dict(asked.profile)))
    return path
