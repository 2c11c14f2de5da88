"""From rules and a base profile to the profile of a container, with its listener.

Owns what a runtime cannot bear to be asked about. What a supervisor wants from the kernel is the
same as for `notifyd run`: the rules' calls, and those that keep its knowledge of targets true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from notifyd.bpf.oci.merge import Merged, SupervisorNeeds, merge
from notifyd.bpf.oci.profile import KILLABLE, OciProfile
from notifyd.bpf.profile import NOTIFY
from notifyd.engine.watching import watched_for
from notifyd.errors import FilterError, UsageError
from notifyd.policy.load import Read, load, read_obeyed
from notifyd.policy.lower import lower
from notifyd.policy.operations import Exec
from notifyd.policy.rule import Rule
from notifyd.policy.ruleset import RuleSet

__all__ = ["COMPOSED_RUNTIMES", "DEFAULT_LISTENER_PATH", "ListenerTarget", "compose"]

DEFAULT_LISTENER_PATH = "/run/notifyd/oci.sock"

# Invariant: the calls that hand the listener over are never trapped. runc's init makes these under
# the filter, before runc has fetched the listener from it (1.1.5, measured): it tells the number of
# the descriptor, waits for the reply, and Go's scheduler does its work meanwhile. crun lets a
# process do it that has no filter.
_BEFORE_HANDOVER: Mapping[str, frozenset[str]] = {
    "runc": frozenset(
        {"write", "read", "futex", "nanosleep", "sched_yield", "epoll_pwait", "tgkill", "getpid"}
        | {"rt_sigreturn", "rt_sigprocmask", "mmap", "madvise"}
    ),
    "crun": frozenset(),
}
COMPOSED_RUNTIMES = tuple(_BEFORE_HANDOVER)


@dataclass(frozen=True, slots=True)
class ListenerTarget:
    """Whom the runtime hands the listener to.

    Attributes:
        path: an AF_UNIX stream socket, as the runtime sees it.
        metadata: a text that goes with it, by which the daemon may choose a workload's rules.
        flags: `SECCOMP_FILTER_FLAG_*` for the runtime, beside those of the base.
        runtime: `runc` or `crun`; any other is treated as the stricter, runc.
    """

    path: str = DEFAULT_LISTENER_PATH
    metadata: str = ""
    flags: Sequence[str] = ()
    runtime: str = "runc"


def compose(
    rules: Sequence[str],
    options: Mapping[str, Sequence[str]],
    base: OciProfile,
    place: str,
    listener: ListenerTarget,
    read: Read = read_obeyed,
) -> Merged:
    """The profile that makes a container report what `rules` need to be asked about.

    Args:
        rules: names of shipped rules, or files.
        options: texts for their options.
        base: a profile of the OCI.
        place: what the person calls the base.
        listener: where notifications go. Left out of the profile if there are none.
        read: reads rule files.

    Raises:
        UsageError: rules that cannot be loaded; base and rules contradict each other; a call that
            the runtime itself would wait for; a base with a listener of its own.
    """
    loaded = load(rules, options=options, deciding=False, read=read)
    watched = watched_for(loaded, audited=True)
    wanted = SupervisorNeeds(lower(loaded).profile, [(one.syscall, one.cubes) for one in watched])
    merged = _checked(merge(base, wanted, place), base, place)
    _check_handover(merged, listener.runtime)
    if not merged.notifies:
        note = "no call leaves the kernel: the profile has no listener"
        return replace(merged, notes=(*merged.notes, note))
    flags = tuple(dict.fromkeys((*(base.flags or ()), *listener.flags)))
    if KILLABLE not in flags and _asks_about_exec(loaded):
        note = f"without the flag {KILLABLE} every execve is refused that a rule allows"
        merged = replace(merged, notes=(*merged.notes, note))
    if base.listener_path not in ("", listener.path):
        raise UsageError(
            f"{place}: has the listener {base.listener_path}, and the kernel allows one; take it "
            f"out there, or name it as the listener here: {base.listener_path}"
        )
    seccomp = msgspec.structs.replace(
        merged.seccomp,
        listener_path=listener.path,
        listener_metadata=listener.metadata or base.listener_metadata,
        flags=flags or None,
    )
    return replace(merged, seccomp=seccomp)


def _asks_about_exec(rules: RuleSet) -> bool:
    return any(
        step.operation is Exec and isinstance(step.declaration, Rule)
        for steps in rules.plans.values()
        for step in steps
    )


def _checked(merged: Merged, base: OciProfile, place: str) -> Merged:
    try:
        from notifyd.bpf.oci.check import checked
    except (OSError, RuntimeError) as error:  # what pyseccomp raises where it finds no library
        raise UsageError(
            f"libseccomp cannot be loaded ({error}): install it (Debian: libseccomp2)"
        ) from error
    try:
        return checked(merged, base, place)
    except FilterError as error:
        raise UsageError(f"{place}: cannot be merged with these rules: {error}") from error


def _check_handover(merged: Merged, runtime: str) -> None:
    for name in sorted(_BEFORE_HANDOVER.get(runtime, _BEFORE_HANDOVER["runc"])):
        call = merged.calls.get(name)
        if call is not None and any(action == NOTIFY for action, _ in call.pieces):
            raise UsageError(
                f"{name}: runc makes this call before it has handed the listener over, and would "
                "wait for ever; use crun, or leave the rule about it out"
            )
