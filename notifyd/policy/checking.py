"""What is wrong with what a rule returned: told apart from a verdict before anybody acts on it."""

from __future__ import annotations

import errno

from notifyd.kernel.limits import MAX_ERRNO
from notifyd.policy.rule import Rule, is_errno
from notifyd.policy.verdicts import VERDICTS, Allow, Ask, Deny

__all__ = ["shown", "wrong_with"]

_REMEMBER = frozenset({"process", "workload", "minutes", "always"})


def wrong_with(verdict: object, rule: Rule) -> Exception | None:
    """What is wrong with what a rule returned; None if it is a verdict that can be answered."""
    # Not isinstance, which asks an object for its own word on what it is.
    if not issubclass(type(verdict), VERDICTS):
        return TypeError(f"returned {shown(verdict)}, which is no verdict")
    try:
        if isinstance(verdict, Ask):
            check_ask(verdict, rule)
        elif isinstance(verdict, Allow):
            check_grant(verdict)
        elif isinstance(verdict, Deny):
            check_errno(verdict.errno)
    except Exception as error:  # the author's values may raise anything where they are compared
        return error
    return None


def check_grant(allow: Allow) -> None:
    """See that what is granted is a name, or some. Which names there are is not known here.

    Raises:
        TypeError: it is not.
    """
    grant = allow.grant
    names = grant if isinstance(grant, tuple) else (grant,)
    if grant is not None and not all(isinstance(name, str) for name in names):
        raise TypeError(f"Allow: grant={shown(grant)} is not a name, nor a tuple of names")


def check_errno(number: object) -> None:
    """See that a call can be refused with an errno.

    Raises:
        TypeError: it is no number, or none of the kernel's; the remedy is in the text.
    """
    if is_errno(number):
        return
    name = number if isinstance(number, str) and hasattr(errno, number) else "EACCES"
    raise TypeError(
        f"Deny(errno={shown(number)}): an errno is a number from 1 to {MAX_ERRNO}, as errno.{name}"
    )


def check_ask(ask: Ask, rule: Rule) -> None:
    """See that a question can be asked.

    Raises:
        TypeError, ValueError: it is nonsense; what its rule's failure comes to is refused.
    """
    if not rule.may_ask:  # and so nothing was done that no program answers for the person
        raise TypeError("returned Ask, which its file never names: import Ask there")
    if not isinstance(ask.question, str) or not isinstance(ask.key, str | None):
        raise TypeError("Ask: the question and its key are text")
    if ask.within is not None and not ask.within > 0:
        raise ValueError(f"Ask: within={ask.within!r} seconds are none to wait")
    if not (isinstance(ask.otherwise, VERDICTS) and ask.otherwise.ends_asking):
        raise TypeError(
            f"Ask: otherwise={shown(ask.otherwise)} would let a call through unanswered"
        )
    unknown = set(ask.remember) - _REMEMBER
    if unknown:
        raise ValueError(f"Ask: remember has {sorted(unknown)}; there are {sorted(_REMEMBER)}")


def shown(value: object) -> str:
    """What a rule returned, for its author; its `repr` may be anything, and may fail."""
    try:
        return repr(value)[:200]
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"
