"""Going where a target is for one request, and home again, so that nothing there is kept alive.

A process keeps its namespaces and its root, and by them mounts, devices and network interfaces.
Natively these are gone when the last process in them has ended, before anybody can wait(2) for it.
So a helper is there only while a target waits for it: it is home before it answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, credentials, namespaces
from notifyd.kernel.files import PATH_FLAGS
from notifyd.perform.placement import HelperPlan

__all__ = ["NOWHERE", "Traveller", "powers"]

NOWHERE = "no helper can be where the target is"


def _powers(*names: str) -> int:
    return sum(1 << capability.CAPABILITY_NUMBERS[f"CAP_{name}"] for name in names)


# To enter a root directory: chroot(2), and searching it whatever its mode is.
_ENTER = _powers("SYS_CHROOT", "DAC_READ_SEARCH")
# To join namespaces: setns(2), with a pidfd ptrace(2)'s "access mode checking", too.
_JOIN = _powers("SYS_ADMIN", "SYS_PTRACE")


def powers(plan: HelperPlan) -> int:
    """Capabilities that have to stay permitted, and not in effect, to travel by a plan."""
    if not plan.travels:
        return 0
    return _ENTER | (_JOIN if plan.join else 0)


class Traveller:
    """What a helper needs to travel; lives as long as its process.

    To be made at home, by who has become who it shall be, with the `powers` for it.

    Args:
        plan: where to.
        own: the open /proc/self/fd of this process, which is its working directory at home and
            there. Stays the caller's.
    """

    def __init__(self, plan: HelperPlan, own: int) -> None:
        self._plan = plan
        self._own = own
        self._root = os.open("/", PATH_FLAGS)
        # In effect on the way only.
        held = capability.get()
        raised = held.effective | powers(plan) & held.permitted
        self._raise = credentials.prepared(raised, held.permitted)
        self._lower = credentials.prepared(held.effective, held.permitted)
        # Not by a pidfd of whoever is at home: that asks for more than these.
        self._namespaces = [
            (os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag)
            for kind, flag in namespaces.NAMESPACE_TYPES.items()
            if plan.join & flag
        ]

    def go(self, way: Sequence[int]) -> None:
        """Go where a target is.

        Args:
            way: a pidfd of its thread, and its root directory; they are closed here.

        Raises:
            CannotPerform: there is no way; then it is home.
        """
        try:
            with ExitStack() as stack:
                for fd in way:
                    stack.callback(os.close, fd)
                task, root = way
                self._raise()
                if self._plan.join:
                    namespaces.join(task, self._plan.join)
                self._enter(root)
        except OSError as error:
            self.come_home()
            raise CannotPerform(f"{NOWHERE}: {error.strerror}") from error

    def come_home(self) -> None:
        """Come home from anywhere.

        Raises:
            OSError: it cannot; nothing but ending will do.
        """
        self._raise()
        for namespace, flag in self._namespaces:
            namespaces.join(namespace, flag)
        self._enter(self._root)

    def _enter(self, root: int) -> None:
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(self._own)
        self._lower()
