"""Loading the configuration anew while the daemon runs: all of it, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import trio

from notifyd.errors import UsageError
from notifyd.service.config import Config
from notifyd.service.daemon import Daemon
from notifyd.service.policies import Policies, load_policies
from notifyd.service.sd_notify import Manager

__all__ = ["Reloader"]

_DEBOUNCE = 300  # milliseconds in which an editor writes a file in several steps
_LOOK = 5_000  # milliseconds after which a watch that was cancelled notices, at the latest


class Reloader:
    """Replaces the policies of a daemon; one reload at a time.

    Args:
        daemon: what gets the new policies.
        manager: is told of each reload.
    """

    def __init__(self, daemon: Daemon, manager: Manager) -> None:
        self._daemon = daemon
        self._manager = manager
        self._one_by_one = trio.Lock()

    async def reload(self, why: str) -> list[str]:
        """Load everything anew and put it in force. What is wrong leaves all as it was.

        Rule files are run, so that happens in a thread: calls go on being decided meanwhile.

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
        """The same, where nobody waits for the result: the log has it."""
        with contextlib.suppress(UsageError):
            await self.reload(why)

    async def _reload(self, why: str) -> list[str]:
        daemon = self._daemon
        load = partial(load_policies, daemon.policies.path)
        try:
            policies = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
        except UsageError as error:
            for line in str(error).splitlines():
                daemon.log.event("rules.rejected", "error", reason=line, why=why)
            raise
        notes = list(_fixed(daemon.policies.config, policies.config))
        notes += daemon.adopt(policies)
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

    async def watch(self) -> None:
        """Reload whenever a file changes that the policies were read from, for ever."""
        while self._daemon.policies.config.watch:
            await self._changed(self._daemon.policies)
            await self.try_reload("a file changed")

    async def _changed(self, policies: Policies) -> None:
        """Wait until one of the files changes."""
        from watchfiles import awatch

        files = {str(file.resolve()) for file in policies.files}
        folders = {str(Path(file).parent) for file in files}
        async for changes in awatch(
            *folders, debounce=_DEBOUNCE, rust_timeout=_LOOK, recursive=False
        ):
            if any(path in files for _, path in changes):
                return


def _fixed(old: Config, new: Config) -> Iterator[str]:
    """What cannot change while the daemon runs."""
    for name, attribute in (("audit", "log"), ("metrics-port", "metrics_port"), ("watch", "watch")):
        if getattr(old, attribute) != getattr(new, attribute):
            yield f"{name} has changed: restart notifyd for that"
    for name in old.sockets.__struct_fields__:
        was, is_ = getattr(old.sockets, name), getattr(new.sockets, name)
        there = [(one.path, one.mode, one.group) if one else None for one in (was, is_)]
        if there[0] != there[1]:
            yield f"sockets.{name} has changed: restart notifyd for that"
