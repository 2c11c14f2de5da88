"""Every error of notifyd on one page: whose fault it is, and what happens next.

Our own failing system calls stay `OSError`; all else that notifyd raises on purpose is below.
"""

from __future__ import annotations

from collections.abc import Iterator


class NotifydError(Exception):
    """The root of all that notifyd raises on purpose."""


class TargetGone(NotifydError):
    """The target exited, was killed, or its call was interrupted. Nobody's fault, never loud."""


class TargetFault(NotifydError):
    """The target passed what no kernel would take, or no rule can judge. It gets `errno`.

    Attributes:
        errno: `EFAULT`; `ENAMETOOLONG` for a path without an end; `E2BIG` for such an argv;
            `EACCES` for what has no name in the target's own view.
    """

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text)
        self.errno = errno


class PeerError(NotifydError):
    """A runtime or a client broke the protocol. Its connection is closed, and the log names it."""


class RuleError(NotifydError):
    """A rule raised, was too slow, or returned what is no verdict. The call fails closed."""


class CannotPerform(RuleError):
    """A rule allowed a call whose memory it had looked at, and notifyd cannot do that call.

    The call is refused: letting the kernel read the memory again would allow something else than
    what the rule saw.
    """


class StaleCall(NotifydError):
    """A rule used a call after its answer. What such a call shows belongs to nobody any more."""


class UsageError(NotifydError):
    """The person at the keyboard can mend this: one line with the remedy in it; exit status 2."""


class FilterError(NotifydError):
    """A profile cannot be turned into a program that does exactly what it says."""


def alone(error: BaseException) -> BaseException:
    """What is wrong, without the groups that nurseries put around it where it is of one kind.

    One cause fails several tasks: where there are no more descriptors, each of them says so.
    """
    kinds = {type(one) for one in _leaves(error)}
    return next(_leaves(error)) if len(kinds) == 1 else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for one in error.exceptions:
        yield from _leaves(one)
