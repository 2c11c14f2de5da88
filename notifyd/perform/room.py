"""Whether a target has room for one more descriptor, before anything is made for it."""

from __future__ import annotations

import os

__all__ = ["is_full"]

MOST_LOOKED = 256  # numbers: listing them takes some 3 µs each, and nobody else is answered then


def is_full(directory: int, limit: int) -> bool:
    """Whether a task has no descriptor left.

    More can be open than its limit allows, with numbers beyond that, and there can be room below:
    the limit was lowered. That is seen where the first number that is free is a small one.

    Args:
        directory: the open /proc/TID.
        limit: its RLIMIT_NOFILE; -1 for none.

    Raises:
        OSError: ESRCH, ENOENT: it has ended. EACCES: not ours to look into.
    """
    # How many are open: since Linux 6.2; 0 before.
    if limit < 0 or os.stat("fd", dir_fd=directory).st_size < limit:
        return False
    listed = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        with os.scandir(listed) as entries:
            # In ascending order, proc_readfd_common() in Linux.
            for number, entry in zip(range(min(limit, MOST_LOOKED)), entries, strict=False):
                if int(entry.name) != number:
                    return False
    finally:
        os.close(listed)
    return True
