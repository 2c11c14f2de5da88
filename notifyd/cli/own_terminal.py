"""A terminal of its own for the command of `notifyd run`, and what keeps it from ours.

Nothing of this is imported where there is no terminal, or nothing that may ask.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from notifyd.errors import UsageError
from notifyd.kernel import prctl
from notifyd.policy.builtin import nothing_against, put_before
from notifyd.policy.call import Call
from notifyd.policy.load import load_file
from notifyd.policy.operations import Open
from notifyd.policy.rule import RULE_TIMEOUT_S, Claim, Rule
from notifyd.policy.verdicts import Allow, Deny

if TYPE_CHECKING:
    from notifyd.launch.relay import Relay
    from notifyd.launch.signals import TakenSignals
    from notifyd.launch.spawned import Spawned
    from notifyd.launch.user import User
    from notifyd.policy.ruleset import RuleSet

__all__ = ["attached", "guarded", "own_terminal"]

_GUARD = Path(__file__).with_name("terminal_guard.py")


def own_terminal(stack: ExitStack, user: User | None) -> Relay | None:
    """Make one, if we are at a terminal; `stack` closes it.

    Raises:
        UsageError: there are no pseudo-terminals here.
    """
    try:
        real = os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None
    from notifyd.launch.relay import Relay

    try:
        return stack.enter_context(Relay(real, user))
    except (OSError, termios.error) as error:
        raise UsageError(
            f"the command cannot have a terminal of its own ({error.args[-1]}), and a rule may ask "
            "at this one: is /dev/pts mounted? Without a terminal (setsid -w) nobody is asked"
        ) from error


def guarded(rules: RuleSet) -> RuleSet:
    """The rules, behind one more rule file: see `terminal_guard`.

    Where what no rule speaks of is refused, a rule's `Continue()` is, too, after a look at memory:
    the kernel would open what nobody has seen.
    """
    guard = [*load_file(str(_GUARD)).declared, _performing(rules)]
    return put_before(rules, guard, strict=not isinstance(rules.otherwise, Allow))


def _performing(rules: RuleSet) -> Rule:
    """A rule that has every open performed, and refuses none.

    What a rule has looked at is opened by notifyd, and not by the kernel. O_PATH opens nothing.
    """

    def performed(call: Call) -> Allow | None:
        assert isinstance(call, Open)
        if not call.flags & os.O_PATH:
            call.pathname  # noqa: B018 (that is the look)
        return nothing_against(rules, call)

    return Rule(performed, Claim((Open,), {}, str(_GUARD), 1), RULE_TIMEOUT_S, Deny(errno.EPERM))


@contextlib.contextmanager
def attached(relay: Relay, spawned: Spawned, signals: TakenSignals) -> Iterator[None]:
    """The command is at its terminal meanwhile, and sees nothing of our memory and descriptors."""
    assert spawned.monitor is not None
    was = prctl.get_dumpable()
    prctl.set_dumpable(False)
    try:
        with _returning(sys.stdout), _returning(sys.stderr):
            relay.begin(spawned.monitor, signals)
            yield
    finally:
        prctl.set_dumpable(was == 1)


@contextlib.contextmanager
def _returning(stream: object) -> Iterator[None]:
    """Our own lines begin at the left, also where the terminal is raw."""
    if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
        yield
        return
    stream.reconfigure(newline="\r\n")
    try:
        yield
    finally:
        stream.reconfigure(newline="\n")
