"""What an OCI profile says to a call, in the words of `profile`.

Owns the way from an entry's action and conditions to actions and cubes, as runc and crun hand them
to libseccomp. Knows nothing of rules.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from notifyd.bpf.cubes import between, both, none_of
from notifyd.bpf.oci.profile import Act, Comparison, OciProfile, Op, Syscall
from notifyd.bpf.profile import (
    ALLOW,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    NOTIFY,
    TRAP,
    Action,
    Cube,
    Masked,
    errno_action,
)
from notifyd.errors import UsageError

__all__ = [
    "EntryMeaning",
    "action_of",
    "as_entries",
    "default_of",
    "refuses",
    "said_of",
    "strictness",
]

_TRACE = 0x7FF0_0000  # SECCOMP_RET_TRACE; the message is its low half
_LAST = (1 << 64) - 1

_PLAIN: Mapping[Act, Action] = {
    Act.ALLOW: ALLOW,
    Act.KILL: KILL_THREAD,
    Act.KILL_THREAD: KILL_THREAD,
    Act.KILL_PROCESS: KILL_PROCESS,
    Act.LOG: LOG,
    Act.NOTIFY: NOTIFY,
    Act.TRAP: TRAP,
}
_NAMES: Mapping[Action, Act] = {
    ALLOW: Act.ALLOW,
    KILL_THREAD: Act.KILL_THREAD,
    KILL_PROCESS: Act.KILL_PROCESS,
    LOG: Act.LOG,
    NOTIFY: Act.NOTIFY,
    TRAP: Act.TRAP,
}


@dataclass(frozen=True, slots=True)
class EntryMeaning:
    """What one entry says to one call. `at` is its index in `syscalls`."""

    at: int
    action: Action
    cubes: tuple[Cube, ...]


def action_of(act: Act, number: int | None) -> Action:
    """The kernel's value for an action and its `errnoRet`: EPERM where that is left out."""
    if act is Act.ERRNO:
        return errno_action(errno.EPERM if number is None else number)
    if act is Act.TRACE:
        return Action(_TRACE | (errno.EPERM if number is None else number))
    return _PLAIN[act]


def default_of(profile: OciProfile) -> Action:
    """What calls get that no entry names."""
    return action_of(profile.default_action, profile.default_errno_ret)


def _words(action: Action) -> tuple[Act, int | None]:
    """An action as OCI words it, with the errno or the message that goes with it."""
    name = _NAMES.get(action)
    if name is not None:
        return name, None
    act = Act.TRACE if action.value & 0xFFFF0000 == _TRACE else Act.ERRNO
    return act, action.value & 0xFFFF


def refuses(action: Action) -> bool:
    """Whether the kernel prefers the action to asking: ERRNO, TRAP and the two that kill."""
    return strictness(action) < strictness(NOTIFY)


def strictness(action: Action) -> int:
    """The smaller one outranks the others: the kernel compares them as signed numbers."""
    return action.value - (1 << 32) if action.value >> 31 else action.value


def said_of(profile: OciProfile, name: str, place: str) -> list[EntryMeaning]:
    """What the profile's entries say to a call, the strictest first.

    Raises:
        UsageError: conditions that would be too many; both the file and the entry are named.
    """
    found = []
    for at, entry in enumerate(profile.syscalls or ()):
        if name in entry.names:
            action = action_of(entry.action, entry.errno_ret)
            try:
                found.append(EntryMeaning(at, action, cubes_of(entry.args or ())))
            except ValueError as error:
                raise UsageError(f"{place}: syscalls[{at}] for {name}: {error}") from error
    return sorted(found, key=lambda said: strictness(said.action))


def cubes_of(tests: Sequence[Comparison], bits: int = 64) -> tuple[Cube, ...]:
    """The registers that an entry's conditions hold for, on an entry whose registers have `bits`.

    On a 32-bit one libseccomp compares the low half of a register with the low half of the number
    (2.5.4, `_db_rule_gen_32`).

    All of them have to hold. But where two are about the same argument, runc and crun make an entry
    of its own of each condition, so that any of them will do.

    Raises:
        ValueError: too many cubes.
    """
    sets = [_cubes(test, bits) for test in tests]
    if len({test.index for test in tests}) < len(tests):
        return tuple(cube for cubes in sets for cube in cubes)
    found: tuple[Cube, ...] = ((),)
    for cubes in sets:
        found = both(found, cubes)
        if len(found) > 4096:
            raise ValueError("its conditions are too many to be merged with rules")
    return found


def _cubes(test: Comparison, bits: int) -> tuple[Cube, ...]:
    last = (1 << bits) - 1
    at, value = test.index, test.value & last
    if test.op is Op.MASKED_EQUAL:
        mask, value = value, test.value_two & value
        return ((Masked(at, mask, value),),) if mask else ((),)
    if test.op is Op.EQUAL:
        return ((Masked(at, last, value),),)
    if test.op is Op.NOT_EQUAL:
        return none_of(at, bits, [value])
    lo, hi = {
        Op.LESS: (0, value - 1),
        Op.LESS_EQUAL: (0, value),
        Op.GREATER: (value + 1, last),
        Op.GREATER_EQUAL: (value, last),
    }[test.op]
    return between(at, bits, lo, hi) if lo <= hi else ()


def _tests(cube: Cube) -> tuple[Comparison, ...]:
    """A cube as an entry's conditions: one for each argument, as runc 1.1 wants it."""
    return tuple(
        Comparison(one.arg, one.value, Op.EQUAL)
        if one.mask == _LAST
        else Comparison(one.arg, one.mask, Op.MASKED_EQUAL, one.value)
        for one in cube
    )


def as_entries(pieces: Iterable[tuple[Action, Cube]], names: Sequence[str]) -> list[Syscall]:
    """Entries that give these calls these actions."""
    made = []
    for action, cube in pieces:
        act, number = _words(action)
        tests = _tests(cube) or None
        made.append(Syscall(names=tuple(names), action=act, errno_ret=number, args=tests))
    return made
