"""Verdicts: what a rule wants for a call. A closed set of frozen values; `None` means no opinion.

They are msgspec structs because rules make one for every call, and nothing else that is frozen is
made as fast. What a verdict holds is checked when it is answered, not when it is made.

Each class says of itself:

    kind: its name in events.
    ends_asking: whether no later rule file is asked. What does not end it lets the call happen if
        no other file, and no person, is against it.
    refuses: whether the target gets nothing at all: then no question of an earlier file is put.
"""

from __future__ import annotations

import errno as _errno
import signal as _signal
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import msgspec

Grants: TypeAlias = str | tuple[str, ...] | None  # of powers that a call may use


class Deny(msgspec.Struct, frozen=True):
    """The target gets `errno`, and the call never happens.

    Args:
        errno: a positive errno of errno(3), 1 to 4095.
        reason: why, in the event; the target never sees it.
    """

    kind: ClassVar[str] = "deny"
    ends_asking: ClassVar[bool] = True
    refuses: ClassVar[bool] = True
    errno: int
    reason: str | None = None


class Return(msgspec.Struct, frozen=True):
    """The target gets an emulated result: `value`, after `memory` was written.

    Args:
        value: what the system call returns, a signed 64-bit number.
        memory: bytes to write, by address in the target. A page that cannot be written: `EFAULT`.
    """

    kind: ClassVar[str] = "return"
    ends_asking: ClassVar[bool] = True
    refuses: ClassVar[bool] = False
    value: int = 0
    memory: Mapping[int, bytes] = {}


class Supply(msgspec.Struct, frozen=True):
    """The target gets a descriptor of ours as the result of its call (ADDFD, Linux 5.9).

    Args:
        source: an open descriptor, which stays the rule's own, or bytes, which the target gets as a
            read-only file of its own.
        cloexec: whether the target's descriptor closes on exec. None: as the call's own flags say.
    """

    kind: ClassVar[str] = "supply"
    ends_asking: ClassVar[bool] = True
    refuses: ClassVar[bool] = False
    source: int | bytes
    cloexec: bool | None = None


class Kill(msgspec.Struct, frozen=True):
    """The whole process gets `signal`; the call never happens (`EPERM` if the signal spares it)."""

    kind: ClassVar[str] = "kill"
    ends_asking: ClassVar[bool] = True
    refuses: ClassVar[bool] = True
    signal: int = int(_signal.SIGKILL)


class Continue(msgspec.Struct, frozen=True):
    """The kernel reads the memory again and does as it likes. For observers, never for a judgement.

    The event is marked `racy` if the rule had looked at memory; a strict workload refuses that.
    """

    kind: ClassVar[str] = "continue"
    ends_asking: ClassVar[bool] = False
    refuses: ClassVar[bool] = False


class Allow:
    """The call happens as the rule saw it.

    Nothing but registers looked at: the kernel goes on by itself. Memory looked at, or changes
    given: notifyd performs the call with the values it copied, or refuses it if it cannot.

    The next rule file is asked all the same, and shown the call with `changes`. Grants of several
    files add up.

    Args:
        grant: a power that the target lacks and that this call may use, by name (`low-ports`), or
            several of them.
        final: whether no other file is asked: an exception before a strict base. Questions of
            files that were asked before are still put.
        changes: arguments of the call that differ from what the target asked.
    """

    __slots__ = ("changes", "final", "grant")
    kind: ClassVar[str] = "allow"
    ends_asking: ClassVar[bool] = False
    refuses: ClassVar[bool] = False
    grant: Grants
    final: bool
    changes: Mapping[str, Any]

    def __init__(
        self,
        *,
        grant: Grants = None,
        final: bool = False,
        **changes: Any,
    ) -> None:
        _set(self, "grant", grant)
        _set(self, "final", final)
        _set(self, "changes", MappingProxyType(changes) if changes else NO_CHANGES)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a verdict is frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Allow):
            return NotImplemented
        mine = self.grant, self.final, dict(self.changes)
        return mine == (other.grant, other.final, dict(other.changes))

    def __hash__(self) -> int:
        return hash((self.grant, self.final, tuple(sorted(self.changes))))

    def __repr__(self) -> str:
        said = {"grant": self.grant, "final": self.final}
        given = {**{name: value for name, value in said.items() if value}, **self.changes}
        return f"Allow({', '.join(f'{k}={v!r}' for k, v in given.items())})"


class Ask(msgspec.Struct, frozen=True):
    """A person decides. The call waits; nothing else does.

    Granted, the call happens as the rule saw it, as with `Allow()`. A refusal, no answer in time,
    too many questions, and nobody to ask, all give `otherwise`; the event tells them apart. If the
    target goes away the question is withdrawn.

    Args:
        question: one line for the person: who wants what.
        within: seconds to wait for the answer; None waits until there is one.
        otherwise: the verdict if the answer is not yes.
        remember: how long the person may have the answer remembered, besides once: any of
            `process`, `workload`, `minutes`, `always`.
        key: what makes two questions of a rule the same: asked once, answered and remembered
            together; by default the question's own text and all that the rule looked at. The
            operation, the user, the caller and the program to be executed always count.
    """

    kind: ClassVar[str] = "ask"
    ends_asking: ClassVar[bool] = False
    refuses: ClassVar[bool] = False
    question: str
    within: float | None = None
    otherwise: Deny | Return | Supply | Kill = Deny(_errno.EPERM)
    remember: Collection[str] = ("process", "workload", "minutes", "always")
    key: str | None = None


_set = object.__setattr__
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})

Verdict: TypeAlias = Allow | Ask | Deny | Return | Supply | Kill | Continue
VERDICTS: tuple[type[Verdict], ...] = (Allow, Ask, Deny, Return, Supply, Kill, Continue)
