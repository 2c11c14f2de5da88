"""One life of the daemon: everything opened, run, and closed in the right order."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack

import trio

from notifyd.approvals.store import Store
from notifyd.daemon.activation import TYPES, take_activated
from notifyd.daemon.control import serve_control
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.fd_store import FdStore
from notifyd.daemon.log import open_log, rotate
from notifyd.daemon.metrics_port import open_port, serve_metrics
from notifyd.daemon.policies import Policies
from notifyd.daemon.reload import Reloader
from notifyd.daemon.sd_notify import Manager, is_restart
from notifyd.daemon.webhook import Webhook, read_secret
from notifyd.errors import alone
from notifyd.intake.sockets import ListeningSockets, SocketAt

__all__ = ["serve"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# seconds between two looks at the audit file: its age, its checkpoints, a full disk
_LOG_CHECK_INTERVAL_S = 1.0
_STATUS_INTERVAL_S = 2.0  # seconds between two looks whether the status has changed


def serve(policies: Policies) -> None:
    """Serve until SIGTERM or SIGINT. Notified calls of all workloads then fail with ENOSYS.

    SIGHUP reloads the configuration; SIGUSR1 begins a new audit file.

    Raises:
        UsageError: a socket or the event log cannot be opened; nothing is left behind.
    """
    with ExitStack() as stack:
        for number in _SIGNALS:
            stack.callback(signal.signal, number, signal.getsignal(number))
        given = take_activated(os.environ)
        manager = stack.enter_context(Manager(os.environ))
        wanted = _wanted(policies)
        unwanted = {name: one for name, one in given.sockets.items() if name not in wanted}
        for one in unwanted.values():
            one.close()  # no one would accept: better refused than left waiting
        named = {name: one for name, one in given.sockets.items() if name in wanted}
        sockets = stack.enter_context(ListeningSockets(wanted, named))
        log = policies.config.log
        audit = stack.enter_context(open_log(log)) if log is not None else None
        _raise_limit()
        port = policies.config.metrics_port
        metrics = stack.enter_context(open_port(port)) if port is not None else None
        place = policies.config.asking.path
        store = stack.enter_context(Store(place)) if place is not None else None
        if store is not None:
            store.end_all(time.time())
        hook = policies.config.webhook
        secret = read_secret(hook.secret_file) if hook is not None else b""
        daemon = Daemon(policies, audit, store, FdStore(manager))
        webhook = Webhook(daemon, hook, secret) if hook is not None else None
        said = [f"sockets.{name} is not in the configuration: closed" for name in unwanted]
        for line in (*given.refused, *said):
            daemon.log.event("socket.refused", "warning", reason=line)
        try:
            trio.run(_live, daemon, sockets, manager, metrics, webhook, given.kept)
        except BaseExceptionGroup as error:
            raise alone(error) from None


def _wanted(policies: Policies) -> Mapping[str, SocketAt]:
    found = {}
    for name, kind in TYPES.items():
        config = getattr(policies.config.sockets, name)
        if config is not None:
            found[name] = SocketAt(config.path, kind, int(config.mode, 8), config.group)
    return found


def _raise_limit() -> None:
    """Every listener and every thread that is remembered costs a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _live(
    daemon: Daemon,
    sockets: Mapping[str, socket.socket],
    manager: Manager,
    metrics: socket.socket | None,
    webhook: Webhook | None,
    kept: Mapping[str, int],
) -> None:
    reloader = Reloader(daemon, manager)
    for one in _SIGNALS:
        signal.signal(one, _late)
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.run, sockets)
            daemon.restore(kept)
            nursery.start_soon(manager.watch, lambda: True)
            nursery.start_soon(reloader.watch)
            if "control" in sockets:
                daemon.queue.attended += 1  # a person may answer; questions wait for them
                nursery.start_soon(serve_control, sockets["control"], daemon, reloader.reload)
            if webhook is not None:
                daemon.queue.attended += 1
                nursery.start_soon(webhook.run)
            if metrics is not None:
                nursery.start_soon(serve_metrics, metrics, daemon)
            nursery.start_soon(_tell_status, daemon, manager)
            nursery.start_soon(_keep_log, daemon)
            _tell_ready(daemon, sockets)
            manager.ready()
            async for number in signals:
                if number == signal.SIGHUP:
                    nursery.start_soon(reloader.try_reload, "SIGHUP")
                elif number == signal.SIGUSR1:
                    rotate(daemon.audit)
                else:
                    break
            manager.stopping()
            if manager.keeps and await is_restart():
                daemon.leave()
            daemon.log.event("service.stopping", signal=signal.Signals(number).name)
            nursery.cancel_scope.cancel()


def _late(_number: int, _frame: object) -> None:
    """A signal that comes while we close. A second SIGTERM must not cut off the end of the log."""


async def _keep_log(daemon: Daemon) -> None:
    while True:
        await trio.sleep(_LOG_CHECK_INTERVAL_S)
        if daemon.audit is not None:
            daemon.audit.tick()


async def _tell_status(daemon: Daemon, manager: Manager) -> None:
    """Keep the one line true that `systemctl status` shows."""
    told = ""
    while True:
        text = f"{len(daemon.workloads)} workloads, {daemon.pending} calls wait"
        if text != told:
            manager.status(text)
            told = text
        await trio.sleep(_STATUS_INTERVAL_S)


def _tell_ready(daemon: Daemon, sockets: Mapping[str, socket.socket]) -> None:
    daemon.log.event(
        "service.ready",
        config=str(daemon.policies.path),
        sockets={name: one.getsockname() for name, one in sockets.items()},
        sections=[policy.name for policy in daemon.policies.sections],
    )
