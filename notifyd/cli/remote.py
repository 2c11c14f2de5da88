"""`notifyd run --service`: the command is started here, and supervised by a daemon."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import trio

from notifyd.cli.session import explain_exec, live
from notifyd.errors import UsageError
from notifyd.intake.handover import ask_program, handover
from notifyd.intake.native_wire import Handover, Offer
from notifyd.launch.ground import check_kernel, check_proc
from notifyd.launch.signals import TakenSignals
from notifyd.launch.spawn import is_killable, listener_flags, spawn
from notifyd.launch.spawned import Spawned
from notifyd.launch.terminal import relay_signals, wait_status
from notifyd.launch.user import User
from notifyd.threads import in_thread

__all__ = ["run_at_service"]


def run_at_service(
    socket: str,
    section: str,
    user: str | None,
    words: Sequence[str],
    given: Mapping[str, object],
    complain: Callable[[str], None],
) -> int:
    """Run a command to its end under a daemon's rules.

    Args:
        socket: the daemon's native socket; "" for where it is expected.
        section: of its configuration; "" for the first that fits.
        user: whom the command runs as, if not us.
        words: the command.
        given: options that are the daemon's to decide, by name; any that is set is an error.
        complain: gets the messages for the person.

    Returns:
        The exit status for the shell.

    Raises:
        UsageError: what was asked for cannot be done; nothing was started.
    """
    for name, value in given.items():
        if value:
            raise UsageError(
                f"{name} is not for --service: the daemon's configuration decides that"
            )
    check_proc()
    somebody = User.parse(user) if user is not None else None
    name = f"{os.path.basename(words[0])}-{os.getpid()}"
    offer = ask_program(id=name, path=socket or None, section=section)
    if offer.listens:
        check_kernel()
    flags = listener_flags() if offer.listens else 0
    with ExitStack() as stack:
        signals = stack.enter_context(TakenSignals())
        spawned = spawn(words, offer.filter, flags=flags, user=somebody, signals=signals.before)
        stack.enter_context(spawned)
        status = live(partial(_accompany, spawned, signals, offer, name, socket, flags), spawned)
        explain_exec(spawned, words[0], complain)
    return status


async def _accompany(
    spawned: Spawned, signals: TakenSignals, offer: Offer, name: str, socket: str, flags: int
) -> int:
    """Hand the listener over, and live with the command until it has ended; its exit status."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(relay_signals, spawned, signals, want_end=trio.Event()))
        if spawned.listener is not None:
            listener, spawned.listener = spawned.listener, None
            give = partial(
                handover,
                listener,
                id=name,
                path=socket or None,
                section=offer.section,
                pid=spawned.pid,
                killable=is_killable(flags),
                program=offer.digest,
            )
            nursery.start_soon(_hand_over, give, listener)
        status = await wait_status(spawned)
        nursery.cancel_scope.cancel()
    return status


async def _hand_over(give: Callable[[], Handover], listener: int) -> None:
    """Wait for the daemon's reply in a thread: it may hang, and the command be interrupted."""

    def give_and_close() -> None:
        try:
            give()
        finally:
            os.close(listener)  # a daemon that dies must not leave calls waiting for us

    await in_thread(give_and_close, abandon_on_cancel=True)
