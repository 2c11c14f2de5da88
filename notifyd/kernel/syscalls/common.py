"""System call numbers from 424 on, which are the same on every architecture since Linux 5.1.

Complete to Linux 7.2. Add a new call to the last line, and the registers of it that are
ints to `widths`.
"""

from __future__ import annotations

# A line is the number of its first name; the names that follow it count up by one.
_TABLE = """
424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount
430 fsopen fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
440 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset
445 landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
450 set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait
456 futex_requeue statmount listmount lsm_get_self_attr
460 lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
467 open_tree_attr file_getattr file_setattr
470 listns rseq_slice_yield
"""


def parse(table: str) -> dict[str, int]:
    """Read lines of a number and the names that count up from it, as name to number."""
    numbers: dict[str, int] = {}
    for line in table.splitlines():
        if line:
            first, *names = line.split()
            numbers.update(zip(names, range(int(first), int(first) + len(names)), strict=True))
    return numbers


SHARED: dict[str, int] = parse(_TABLE)
