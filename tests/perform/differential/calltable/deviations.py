"""What is known to differ, and why: explained in docs/explanation/what-allow-means.md.

To add one: say which cases, what they give natively and performed, and why it has to be so. A line
that no case needs any more fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from calltable.runs import Result, Where


@dataclass(frozen=True)
class Deviation:
    """Cases that differ.

    Attributes:
        case: a pattern for the case.
        native: a pattern for what it prints natively; None if only its stage differs.
        performed: the same, performed.
        why: the reason.
        users: whether it is so for users only.
        alone: whether it is all that differs: what is printed after it, and the stage, are the
            same.
    """

    case: str
    native: str
    performed: str
    why: str
    users: bool = False
    alone: bool = False

    def covers(self, result: Result, where: Where) -> bool:
        """Whether this explains a difference, all of it."""
        return (
            (where.user > 0 or not self.users)
            and re.search(self.case, result.case) is not None
            and re.fullmatch(self.native, result.native[0]) is not None
            and re.fullmatch(self.performed, result.performed[0]) is not None
            and (not self.alone or _later(result.native) == _later(result.performed))
        )


def _later(lines: tuple[str, ...]) -> tuple[str, ...]:
    """What comes after the first answer."""
    return (lines[0].partition(" | ")[2], *lines[1:])


def known(cases: Iterable[str], most: int) -> Iterator[str]:
    """The first cases of each deviation."""
    table = list(cases)
    for one in DEVIATIONS:
        yield from [case for case in table if re.search(one.case, case)][:most]


_OWN_FD = r"(/proc/(self|thread-self)/fd|/dev/fd)"
_LOOKED = r"(openat2|openat|\wetxattr|removexattr|listxattr|set(host|domain)name|sched_set\w+)"
_ZEROS = r"(%00){7}"
DEVIATIONS = (
    Deviation(
        r"linkat (\$1|AT_FDCWD) s AT_FDCWD snewlink AT_EMPTY_PATH", r"\| (0|EPERM|EXDEV)",
        r"\| ENOENT",
        "the kernel lets only whoever opened a descriptor link by it, or CAP_DAC_READ_SEARCH",
        users=True,
    ),
    Deviation(
        _OWN_FD, r"\| (ENOTDIR|EPERM|EOPNOTSUPP|ECONNREFUSED|0).*", r"\| EACCES.*",
        "a process may do more to its own /proc/self/fd than its mode says; a helper is another",
        users=True,
    ),
    Deviation(
        r"^full; open", r"\| EMFILE", r"\| (ENOENT|EACCES|EPERM)",
        "without a descriptor left the path's own error comes first",
    ),
    Deviation(
        r"bind \$2 a\S*/\S+ z; getsockname", r"\| 0 \| 0 .*", r"\| 0 \| 0 .*",
        "without root, a socket whose path was judged is bound by its name in its directory",
        users=True,
    ),
    Deviation(
        r"(connect|bind) (99|-1) (u|asock)", r"\| EBADF", r"\| EFAULT",
        "the rule looks at the address before the kernel looks at the socket",
    ),
    Deviation(
        rf"{_LOOKED}[^;]* (u|e|0|x4096|d4096:\S+)( |;|$)",
        r"\| (EINVAL|EPERM|E2BIG|ERANGE|EAGAIN|ESRCH).*",
        r"\| (EFAULT|ENAMETOOLONG).*",
        "the rule looks at memory before the kernel looks at sizes, flags and powers", alone=True,
    ),
    Deviation(
        r"(fspick|move_mount) (AT_FDCWD (u|s 1)|99 )",
        r"\|.* EPERM .*", r"\|.* (EFAULT|EBADF|ENOENT) .*",
        "memory and descriptors are looked at before powers",
    ),
    Deviation(
        rf"openat2 AT_FDCWD s b(?!.*%0[1-9A-F]{_ZEROS} 24)|openat AT_FDCWD s \S*TMPFILE",
        r"\| (EINVAL|EAGAIN|E2BIG)", r"\| ENOENT",
        "the rule looks at the path, which is none, before the kernel at flags",
    ),
    Deviation(
        r"openat AT_FDCWD \S+ O_PATH", r"\| \d+ \| 0 \[(120|140|10|20|60)\d{3} .*",
        r"\| (EOPNOTSUPP|EPERM) \| EBADF .*",
        "O_PATH cannot be handed over, and this cannot be opened in its place",
    ),
    Deviation(
        r"openat AT_FDCWD s\S*(secret|closed|noperm|grp|wo|self/exe|self/\S*) O_PATH",
        r"\| \d+ \| 0 \[(100|40)\d{3} .*", r"\| (EOPNOTSUPP|EACCES) \| EBADF .*",
        "O_PATH cannot be handed over, and this may not be read", users=True,
    ),
    Deviation(
        r"mount_setattr \S+ \S+ 0 b(%00){32} 32", r"\| 0", r"\| (EBADF|EFAULT)",
        "where nothing is changed the kernel looks at no path, and the rule does",
    ),
    Deviation(
        r"umount2 sempty(/sub/\.\.|/\.) 0", r"\| 0 .*", r"\| EBUSY .*",
        "what is pinned is busy, and this path has no last name whose directory could be pinned",
    ),
)  # fmt: skip
