"""One run of `notifyd run`: rules, filter, command, supervisor, report, in that order.

Everything that can be wrong with what was asked is found before the command starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from notifyd.cli.questions import TerminalQuestions
from notifyd.engine.report import Reporter
from notifyd.errors import UsageError, alone
from notifyd.events.terminal import Failures, Refusals, colorful
from notifyd.launch.command import CannotStart, native_environment, search
from notifyd.launch.ground import check_kernel, check_proc
from notifyd.launch.signals import TakenSignals
from notifyd.launch.spawn import is_killable, listener_flags, spawn
from notifyd.launch.spawned import Spawned
from notifyd.launch.terminal import relay_signals, wait_status
from notifyd.launch.user import User
from notifyd.policy.load import load
from notifyd.policy.lower import Lowered, lower
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.verdicts import Allow, Deny
from notifyd.target.fuse import RecentlyServed

if TYPE_CHECKING:
    from notifyd.engine.listener import Listener
    from notifyd.events.jsonl import JsonLines
    from notifyd.launch.relay import Relay
    from notifyd.perform.terminals import Terminals
    from notifyd.target.watch import Watched

OTHERWISE_ERRNO = 1  # EPERM: what `--otherwise deny` gives


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The command line, as it was given."""

    rules: Sequence[str]
    options: Mapping[str, Sequence[str]]
    otherwise: str
    strict: bool
    user: str | None
    audit: str | None
    quiet: bool
    words: Sequence[str]
    audit_key: str | None = None
    pty: bool = False


def run(settings: RunSettings, complain: Callable[[str], None]) -> int:
    """Run a command to its end and to that of everything it started.

    Returns:
        The exit status for the shell.

    Raises:
        UsageError: what was asked for cannot be done; nothing was started.
    """
    check_proc()
    user = User.parse(settings.user) if settings.user is not None else None
    rules = _with_record_kept(_loaded(settings), user)
    with ExitStack() as stack:
        relay, enforced = _with_own_terminal(stack, settings, rules, user)
        audit = stack.enter_context(_open_audit(settings)) if settings.audit else None
        refusals, failures = _shown(settings)
        reporter = Reporter(audit=audit, refusals=refusals, failures=failures)
        watched = _watched(enforced, audit)
        lowered = lower(enforced, watch=[(one.syscall, one.cubes) for one in watched])
        _tell_rules(settings, rules, lowered, reporter)
        program, flags = _program(lowered, reporter)
        signals = stack.enter_context(TakenSignals())
        if audit is not None:
            stack.callback(audit.close)  # while a second SIGTERM cannot cut off its end
        own = relay.own if relay is not None else None
        starting = partial(spawn, flags=flags, user=user, signals=signals.before, own=own)
        starting = partial(starting, program=program)
        spawned = stack.enter_context(_started(settings, starting, reporter))
        terminals = _attach(stack, relay, spawned, signals)
        terminals = terminals if enforced is not rules else None
        killable = is_killable(flags)
        session = RunSession(
            settings, enforced, watched, reporter, spawned, signals, killable, relay, terminals
        )
        status = live(session.supervise, spawned)
        explain_exec(spawned, settings.words[0], complain)
    if refusals is not None and rules.declarations:
        _print_summary(reporter, refusals, lowered)
    if failures is not None:
        failures.end()
    return status


def _loaded(settings: RunSettings) -> RuleSet:
    return load(
        settings.rules,
        options=settings.options,
        otherwise=Deny(OTHERWISE_ERRNO) if settings.otherwise == "deny" else Allow(),
        strict=settings.strict,
        programs=_programs(settings.words[0]),
    )


def _shown(settings: RunSettings) -> tuple[Refusals | None, Failures | None]:
    if sys.stderr is None:  # it was closed before we started
        return None, None
    if settings.quiet:
        return None, Failures(sys.stderr)
    return Refusals(sys.stderr, color=colorful(sys.stderr)), None


def _tell_rules(
    settings: RunSettings, rules: RuleSet, lowered: Lowered, reporter: Reporter
) -> None:
    kernel = sorted({operation for operation, _ in lowered.decided})
    count = len(rules.declarations)
    reporter.event("rules.loaded", rules=list(settings.rules), count=count, kernel=kernel)


def _started(
    settings: RunSettings, starting: Callable[[Sequence[str]], Spawned], reporter: Reporter
) -> Spawned:
    try:
        return starting(settings.words)
    except CannotStart as error:
        words = list(settings.words)
        reporter.event("workload.failed", command=words, error=str(error), status=error.status)
        raise


def _programs(command: str) -> tuple[str, ...]:
    """The files of the command, and of the Python that its PATH finds."""
    environment, found = native_environment(), list[str]()
    for name in (command, "python3", "python"):
        with contextlib.suppress(OSError):  # a missing command is reported when it starts
            found.append(os.fsdecode(search(os.fsencode(name), environment)))
    return tuple(found)


def _with_record_kept(rules: RuleSet, user: User | None) -> RuleSet:
    """The rules, and that the command writes no answers, if it may ask and could write them."""
    if not rules.may_ask or (user is not None and user.uid not in (0, os.geteuid())):
        return rules  # what is ours alone to write is out of another user's reach
    from notifyd.approvals.place import claim
    from notifyd.approvals.store import user_path
    from notifyd.policy.guard import guarded

    store = user_path().absolute()
    with contextlib.suppress(UsageError, OSError):  # reported when the first question needs it
        claim(store)
    return guarded(rules, store)


# What follows is imported where it is needed: most of the time that a short command takes is ours.


def _with_own_terminal(
    stack: ExitStack, settings: RunSettings, rules: RuleSet, user: User | None
) -> tuple[Relay | None, RuleSet]:
    """A terminal for the command, if it is to have its own, and the rules that go with it."""
    if not settings.pty and not rules.may_ask:
        return None, rules
    from notifyd.cli.own_terminal import guarded, own_terminal

    relay = own_terminal(stack, user)
    return relay, guarded(rules) if relay is not None and rules.may_ask else rules


def _attach(
    stack: ExitStack, relay: Relay | None, spawned: Spawned, signals: TakenSignals
) -> Terminals | None:
    """Let the command be at its terminal until `stack` ends; who judges what else it may open."""
    if relay is None:
        return None
    from notifyd.cli.own_terminal import attached
    from notifyd.perform.terminals import Terminals

    terminals = Terminals(relay.own.slave)
    stack.enter_context(attached(relay, spawned, signals))
    return terminals


def _watched(rules: RuleSet, audit: JsonLines | None) -> tuple[Watched, ...]:
    if not rules.rules:
        return ()
    from notifyd.engine.watching import watched_for

    return watched_for(rules, audited=audit is not None)


def live(life: Callable[[], Awaitable[int]], spawned: Spawned) -> int:
    """Run `life` to its end. If it fails, the command does not outlive it."""
    try:
        return trio.run(life)
    except BaseException as error:
        # No one answers any more. A command that runs on half supervised is worse than none.
        spawned.send_signal(signal.SIGKILL)
        raise alone(error) from None


class RunSession:
    """The command that runs, and its supervisor."""

    def __init__(
        self,
        settings: RunSettings,
        rules: RuleSet,
        watched: Sequence[Watched],
        reporter: Reporter,
        spawned: Spawned,
        signals: TakenSignals,
        killable: bool,
        relay: Relay | None,
        terminals: Terminals | None,
    ) -> None:
        self._relay = relay
        self._terminals = terminals
        self._settings = settings
        self._rules = rules
        self._watched = watched
        self._reporter = reporter
        self._spawned = spawned
        self._signals = signals
        self._killable = killable
        self._name = f"{os.path.basename(settings.words[0])}-{spawned.pid}"

    async def supervise(self) -> int:
        """Live with the command until it and all its descendants are gone; its exit status.

        A person can end the wait for descendants. What is left of them gets ENOSYS from then on.
        """
        begun = time.monotonic()
        self._tell_start()
        with ExitStack() as undo:
            async with trio.open_nursery() as nursery:
                want_end = trio.Event()
                relay = self._relay
                questions = TerminalQuestions(nursery, undo, self._reporter, relay)
                passing = partial(relay_signals, want_end=want_end, heard=questions.heard)
                nursery.start_soon(partial(passing, relay=relay), self._spawned, self._signals)
                if relay is not None:
                    nursery.start_soon(relay.run)
                workload = await self._supervise_listener(nursery, questions)
                status = await (relay.follow() if relay else wait_status(self._spawned))
                if workload is not None:
                    await _first(want_end, workload.ended)
                if relay is not None:
                    await relay.drain()
                nursery.cancel_scope.cancel()
        self._tell_end(status, time.monotonic() - begun)
        return status

    async def _supervise_listener(
        self, nursery: trio.Nursery, questions: TerminalQuestions
    ) -> Listener | None:
        if self._spawned.listener is None:
            return None
        from notifyd.engine.listener import Listener
        from notifyd.engine.supervisor import Supervisor

        listener, self._spawned.listener = self._spawned.listener, None
        workload = Listener(
            self._name,
            listener,
            self._rules,
            self._reporter,
            watched=self._watched,
            killable=self._killable,
            queue=questions,
            served=RecentlyServed(),
            alone=True,
        )
        workload.files.terminals = self._terminals
        supervisor = Supervisor()
        supervisor.add(workload)
        await nursery.start(supervisor.run)
        return workload

    def _tell_start(self) -> None:
        self._reporter.event(
            "workload.started",
            workload=self._name,
            pid=self._spawned.pid,
            command=list(self._settings.words),
            user=self._settings.user,
            rules=list(self._settings.rules),
            otherwise=self._settings.otherwise,
            strict=self._settings.strict,
        )

    def _tell_end(self, status: int, lasted: float) -> None:
        rows = self._reporter.counters.rows()
        self._reporter.event(
            "workload.ended",
            workload=self._name,
            status=status,
            calls=sum(row.count for row in rows),
            refused=self._reporter.counters.refused,
            lasted_s=round(lasted, 6),
        )


async def _first(*events: trio.Event) -> None:
    """Wait for one of several events."""

    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(wait, event)


def _program(lowered: Lowered, reporter: Reporter) -> tuple[bytes, int]:
    """The program's bytes, and the flags to install it with."""
    if lowered.notifies:
        check_kernel()
    try:
        from notifyd.bpf.build import compile_profile
    except (OSError, RuntimeError) as error:  # what pyseccomp raises where it finds no library
        raise UsageError(
            f"libseccomp cannot be loaded ({error}): install it (Debian: libseccomp2) and see that "
            "this user may open a few files and start a process"
        ) from error
    built = compile_profile(lowered.profile)
    for line in built.widened:
        reporter.event("filter.widened", "warning", reason=line)
    listens = lowered.notifies or bool(built.widened)
    size = len(built.program.instructions)
    reporter.event("filter.installed", instructions=size, listens=listens)
    return built.program.to_bytes(), listener_flags() if listens else 0


def _open_audit(settings: RunSettings) -> JsonLines:
    from notifyd.events.jsonl import JsonLines, LogSettings
    from notifyd.events.signing import Signer

    assert settings.audit is not None
    signer = Signer.open(settings.audit_key) if settings.audit_key is not None else None
    return JsonLines.open(settings.audit, manner=LogSettings(signer=signer))


def explain_exec(spawned: Spawned, name: str, complain: Callable[[str], None]) -> None:
    """Tell why the command could not be executed, if it could not."""
    error = spawned.exec_error()
    if error is not None:
        complain(f"{name}: cannot be executed: {error.strerror}; do the rules allow it?")


def _print_summary(reporter: Reporter, refusals: Refusals | None, lowered: Lowered) -> None:
    lines = [f"notifyd: {line}" for line in (refusals.summary() if refusals else [])]
    lines += ["", reporter.counters.table()]
    for action, names in _by_action(lowered.decided).items():
        text = f"in the kernel, uncounted: {action} for {', '.join(names)}"
        lines += textwrap.wrap(text, 79, subsequent_indent="  ", break_on_hyphens=False)
    with contextlib.suppress(OSError):  # the status counts even if the terminal is gone
        print("\n".join(lines), file=sys.stderr, flush=True)


def _by_action(decided: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for operation, action in sorted(decided):
        found.setdefault(action, []).append(operation)
    return found
