"""Private mount namespaces, and in them the control groups in the version that a runtime wants.

Machines mount version 1, version 2, or both (hybrid: version 2 at /sys/fs/cgroup/unified). Some
runtimes refuse the third; hiding one version in a mount namespace of their own is enough for them.
"""

from collections.abc import Sequence

from .ground import CGROUPS

UNIFIED = CGROUPS / "unified"


def private(words: Sequence[str], before: str = "true") -> list[str]:
    """A command in a mount namespace of its own; what is mounted there goes with it.

    Args:
        words: the command.
        before: what a shell does in that namespace first.
    """
    script = f'{before} && exec "$@"'
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "private", *words]


def not_hybrid(words: Sequence[str]) -> list[str]:
    """A command in a mount namespace that has one version only: 1 on a hybrid machine."""
    return private(words, f"umount {UNIFIED}" if UNIFIED.is_dir() else "true")
