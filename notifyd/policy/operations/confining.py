"""What a process does to itself: `Prctl`, `Seccomp`, `LandLock`, `Personality`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Fd, Flags, Int
from notifyd.policy.names import process as names
from notifyd.policy.names.prctl import PRCTL_OPTIONS
from notifyd.policy.operations.layouts import Less
from notifyd.policy.sources import call

__all__ = ["LandLock", "Personality", "Prctl", "Seccomp"]

PR_SET_SECCOMP = PRCTL_OPTIONS["PR_SET_SECCOMP"]
FILTER = names.SECCOMP_OPERATIONS["SECCOMP_SET_MODE_FILTER"]
STRICT = names.SECCOMP_OPERATIONS["SECCOMP_SET_MODE_STRICT"]
QUERY = 0xFFFFFFFF  # personality(2): asks and changes nothing


class Prctl(Call):
    """Change how the process itself is run: prctl(2).

    One call for many things: name the option, `@on(Prctl, option=PR_SET_DUMPABLE)`. What the other
    arguments mean depends on it. PR_SET_SECCOMP is also `Seccomp`.
    """

    __slots__ = ()
    theme = "processes"

    option = Enum(PRCTL_OPTIONS, "`PR_*`")
    arg2 = Int("depends on the option", width=64)
    arg3 = Int("depends on the option", width=64)
    arg4 = Int("depends on the option", width=64)
    arg5 = Int("depends on the option", width=64)

    variants = (call("prctl", option=0, arg2=1, arg3=2, arg4=3, arg5=4),)


class Seccomp(Call):
    """Install a system call filter: seccomp(2), and prctl(2) with PR_SET_SECCOMP.

    A filter of the target's own can only refuse more. It can refuse before ours notifies: the
    strictest answer wins. A second listener in one thread is EBUSY.
    """

    __slots__ = ()
    theme = "processes"

    op = Enum(names.SECCOMP_OPERATIONS, "`SECCOMP_*`; prctl's mode under the name of its sibling")
    flags = Flags(names.SECCOMP_FLAGS, "`SECCOMP_FILTER_FLAG_*`, of seccomp alone")
    program = Address("the struct sock_fprog, or what the operation takes")

    variants = (
        call("seccomp", op=0, flags=1, program=2),
        # Modes count from SECCOMP_MODE_STRICT 1, operations from SECCOMP_SET_MODE_STRICT 0.
        call("prctl", when={0: PR_SET_SECCOMP}, op=Less(1, 1), program=2),
    )

    @property
    def installs(self) -> bool:
        """Whether the thread is confined further; otherwise it only asks."""
        return self.op in (STRICT, FILTER)


class LandLock(Call):
    """Confine oneself with Landlock: landlock(7), since Linux 5.13.

    Adds to what is forbidden, and never takes away. Once restricted, a thread cannot mount.
    """

    __slots__ = ()
    theme = "processes"

    fd = Fd("the rule set")
    attributes = Address("landlock_create_ruleset, landlock_add_rule: what it is about")
    size = Int("landlock_create_ruleset: bytes of it", width=64)
    rule_type = Enum(names.LANDLOCK_RULES, "landlock_add_rule: the kind of rule")
    flags = Int("each call's own")

    variants = (
        call("landlock_create_ruleset", attributes=0, size=1, flags=2),
        call("landlock_add_rule", fd=0, rule_type=1, attributes=2, flags=3),
        call("landlock_restrict_self", fd=0, flags=1),
    )


class Personality(Call):
    """Imitate another system, or switch off address randomisation: personality(2)."""

    __slots__ = ()
    theme = "processes"

    persona = Flags(names.PERSONALITY_FLAGS, "flags and execution domain; 0xffffffff only asks")

    variants = (call("personality", persona=0),)

    @property
    def only_asks(self) -> bool:
        """Whether nothing changes."""
        return self.persona == QUERY
