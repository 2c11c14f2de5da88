"""Whether there is room for one more descriptor: in a target's table, and in ours."""

from __future__ import annotations

import errno
import os
import resource

__all__ = ["is_full", "keep_spare"]

SPARE = 16  # descriptors of ours that calls which wait leave to those that do not
# numbers: listing them takes some 3 µs each, and nobody else is answered then
MAX_COUNTED_FDS = 256


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
            for number, entry in zip(range(min(limit, MAX_COUNTED_FDS)), entries, strict=False):
                if int(entry.name) != number:
                    return False
    finally:
        os.close(listed)
    return True


def keep_spare(descriptor: int) -> None:
    """See that what a waiting call keeps open leaves some descriptors to the calls of others.

    Args:
        descriptor: the last one that was opened for the call. The kernel gives the lowest number
            that is free, so a number close to our limit says that hardly any is left.

    Raises:
        OSError: EMFILE.
    """
    if descriptor >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
