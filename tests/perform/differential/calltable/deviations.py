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
    """

    case: str
    native: str
    performed: str
    why: str
    users: bool = False

    def covers(self, result: Result, where: Where) -> bool:
        """Whether this explains a difference, all of it."""
        return (
            (where.user > 0 or not self.users)
            and re.search(self.case, result.case) is not None
            and re.fullmatch(self.native, result.native[0]) is not None
            and re.fullmatch(self.performed, result.performed[0]) is not None
        )


def known(cases: Iterable[str], most: int) -> Iterator[str]:
    """The first cases of each deviation."""
    table = list(cases)
    for one in DEVIATIONS:
        yield from [case for case in table if re.search(one.case, case)][:most]


_OWN_FD = r"(/proc/(self|thread-self)/fd|/dev/fd)"
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
        r"!chroot sdir; chmod sdir", r"\| 0", r"\| EAGAIN",
        "what is both the root and outside of it has two names",
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
)  # fmt: skip
