"""Reloading the configuration while the daemon runs: all of it, or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import trio

from notifyd.daemon.config import Config
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.file_signatures import FileSignatures, folders_of, signatures_at, signatures_of
from notifyd.daemon.policies import Policies, load_policies
from notifyd.daemon.sd_notify import Manager
from notifyd.errors import UsageError
from notifyd.intake.arrival import ArrivalRefused
from notifyd.perform import worker
from notifyd.threads import in_thread, start_thread

__all__ = ["Reloader"]

_DEBOUNCE_MS = 50  # milliseconds of changes that are reported together
_SETTLE_S = 0.3  # seconds without a change: a file written in several steps is complete
_HURRIED = 10  # times so long are waited for that
# milliseconds between two looks at the files, and until a watch notices its end
_WATCH_INTERVAL_MS = 1_000
RELOAD_TIMEOUT_S = 45.0  # seconds that all files may take; `notifyd ctl` waits 60, systemd 90


class Reloader:
    """Replaces the policies of a daemon; one reload at a time.

    Args:
        daemon: what gets the new policies.
        manager: is notified of each reload.
        patience: seconds that loading may take.
    """

    def __init__(
        self, daemon: Daemon, manager: Manager, patience: float = RELOAD_TIMEOUT_S
    ) -> None:
        self._daemon = daemon
        self._patience = patience
        self._manager = manager
        self._one_by_one = trio.Lock()

    async def reload(self, why: str) -> list[str]:
        """Reload everything and put it in force. After a mistake the old state stays.

        Rule files are run, so that happens in a thread: calls are still decided meanwhile.

        Args:
            why: who or what wanted it, for the log.

        Returns:
            What the person who asked should know, a line each.

        Raises:
            UsageError: every mistake, with its line.
        """
        async with self._one_by_one:
            self._manager.reloading()
            try:
                return await self._reload(why)
            finally:
                self._manager.ready()

    async def try_reload(self, why: str) -> None:
        """The same, if no one waits for the result: the log has it."""
        if self._one_by_one.statistics().tasks_waiting:
            return  # one that has not begun yet will see what this one would
        with contextlib.suppress(UsageError):
            await self.reload(why)

    async def _reload(self, why: str) -> list[str]:
        daemon = self._daemon
        try:
            policies = await self._loaded(daemon.policies.path)
        except UsageError as error:
            for line in str(error).splitlines():
                daemon.log.event("rules.rejected", "error", reason=line, why=why)
            raise
        notes = list(_fixed(daemon.policies.config, policies.config))
        notes += _adopt(daemon, policies)
        for policy in policies.sections:
            daemon.log.event(
                "rules.loaded",
                section=policy.name,
                rules=policy.section.rules,
                count=len(policy.rules.declarations),
                why=why,
            )
        for note in notes:
            daemon.log.event("reload.note", "warning", reason=note)
        return notes

    async def _loaded(self, path: Path) -> Policies:
        """The policies, from a thread of its own: one that never ends is left behind."""
        try:
            with trio.move_on_after(self._patience):
                return await worker.run(partial(_load, path))
        except OSError as error:
            raise UsageError(f"{path}: cannot be loaded now: {error}") from error
        raise UsageError(
            f"{path}: its rule files have not been loaded within {self._patience:g} seconds: see "
            "what they do outside of their functions, and restart notifyd to be rid of that"
        )

    async def watch(self) -> None:
        """Reload whenever a file changes that the policies are read from, for ever."""
        path, looks = self._daemon.policies.path, self._daemon.policies.looks
        while self._daemon.policies.config.watch:
            try:
                await _changed(looks)
                await _quiet(looks)
                # Before they are read: what changes meanwhile is a change.
                looks = await in_thread(partial(signatures_of, path), abandon_on_cancel=True)
            except (OSError, RuntimeError) as error:  # no room: inotify(7), max_user_watches
                said = f"files are not watched any more ({error}): use `notifyd ctl reload`"
                self._daemon.log.event("reload.note", "warning", reason=said)
                return
            await self.try_reload("a file changed")


async def _changed(looks: FileSignatures) -> None:
    """Wait until one of the files looks different."""
    while True:
        try:
            return await _told_of_change(looks)
        except ExceptionGroup as failed:
            # Of a name that is not UTF-8 (anybody's, in a folder as /tmp) watchfiles can tell
            # nothing, and ends: measured with 1.3.
            if failed.split(RuntimeError)[1] is not None:
                raise
        await trio.sleep(_WATCH_INTERVAL_MS / 1000)
        if await _look_again(looks) != looks:
            return None


async def _told_of_change(looks: FileSignatures) -> None:
    """The same, unless a change cannot be detected.

    Watching their folders makes that quick. But a watch begins late, ends with its folder, and does
    not see a link on the way that leads elsewhere, so the files are looked at now and then besides.
    """
    from watchfiles import awatch

    folders = await in_thread(partial(folders_of, looks), abandon_on_cancel=True)
    _check_room()
    with contextlib.suppress(FileNotFoundError):  # gone this moment, which is a change
        async for _ in awatch(
            *folders,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_WATCH_INTERVAL_MS,
            yield_on_timeout=True,
            recursive=False,
        ):
            if await _look_again(looks) != looks:
                return


def _check_room() -> None:
    """See that watchfiles can have the thread that it needs.

    Where it cannot, it does not fail, but ends the whole process (a panic within a panic: measured
    with 1.3).

    Raises:
        OSError: EAGAIN: it cannot.
    """
    thread = threading.Thread(target=int)
    start_thread(thread)
    thread.join()


async def _quiet(looks: FileSignatures) -> None:
    """Wait until the files are not written any more: half a rule file may be valid."""
    found = await _look_again(looks)
    for _ in range(_HURRIED):
        await trio.sleep(_SETTLE_S)
        before, found = found, await _look_again(looks)
        if found == before:
            return


async def _look_again(looks: FileSignatures) -> FileSignatures:
    return await in_thread(partial(signatures_at, looks), abandon_on_cancel=True)


def _load(path: Path) -> Policies:
    """As `load_policies`; whatever a file raises, it is the file's fault."""
    try:
        return load_policies(path)
    except UsageError:
        raise
    except BaseException as error:  # GeneratorExit, KeyboardInterrupt, what a file has made up
        raise UsageError(f"{path}: its rule files cannot be loaded: {error!r}") from error


def _adopt(daemon: Daemon, policies: Policies) -> Iterator[str]:
    """Decide by new policies, for those that are here and those that come; what to know of it.

    A workload that no section fits any more keeps the rules that it has.
    """
    daemon.policies = policies
    daemon.loaded = time.time()
    for workload in tuple(daemon.workloads.values()):
        try:
            policy = policies.choose(workload.arrival, workload.cgroups)
        except ArrivalRefused as refused:
            yield f"{workload.id} keeps its rules: {refused}"
            continue
        workload.use(policy)
        for member in workload.members:
            missing = workload.tell_unheard(member)
            if missing:
                yield f"{workload.id}: its filter does not report {', '.join(missing)}"


def _fixed(old: Config, new: Config) -> Iterator[str]:
    """What cannot change while the daemon runs."""
    if old.asking.path != new.asking.path:
        yield "approvals.path has changed: restart notifyd for that"
    for attribute in ("log", "webhook", "metrics_port", "watch"):
        if getattr(old, attribute) != getattr(new, attribute):
            name = "audit" if attribute == "log" else attribute.replace("_", "-")
            yield f"{name} has changed: restart notifyd for that"
    for name in old.sockets.__struct_fields__:
        was, is_ = getattr(old.sockets, name), getattr(new.sockets, name)
        there = [(one.path, one.mode, one.group) if one else None for one in (was, is_)]
        if there[0] != there[1]:
            yield f"sockets.{name} has changed: restart notifyd for that"
