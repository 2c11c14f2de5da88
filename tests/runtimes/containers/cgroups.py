"""Private mount namespaces, and in them the control groups in the version that a runtime wants.

Machines mount version 1, version 2, or both (hybrid: version 2 at /sys/fs/cgroup/unified). Some
runtimes refuse the third; hiding version 2 in a mount namespace of their own is enough for them.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from .ground import CGROUPS

UNIFIED = CGROUPS / "unified"


def private(words: Sequence[str], *steps: str) -> list[str]:
    """A command in a mount namespace of its own; what is mounted there goes with it.

    Args:
        words: the command.
        *steps: what a shell does in that namespace first, each of which has to succeed.
    """
    script = " && ".join([*steps, 'exec "$@"'])
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "private", *words]


def own_run(folder: Path) -> str:
    """The step that makes `folder` be /run, where runtimes keep state whatever they are told."""
    return f"mount --bind {shlex.quote(str(folder))} /run"


def one_version() -> str:
    """The step that leaves one version of control groups: 1 on a hybrid machine."""
    return f"umount {UNIFIED}" if UNIFIED.is_dir() else "true"
