"""A supervisor as small as can be: `supervisor.py CALLS COMMAND...`, for tests at a terminal.

CALLS: names joined by commas, `all`, or `none` for a filter without a listener. Every call is
continued. Exits with the command's status; 99 when a person wanted an end after that of the
command, whose descendants it waits for.
"""

import select
import struct
import sys

import trio

from notifyd.errors import UsageError
from notifyd.kernel import arch, seccomp
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier
from notifyd.launch.signals import TakenSignals
from notifyd.launch.spawn import spawn
from notifyd.launch.spawned import Spawned
from notifyd.launch.terminal import relay_signals, wait_status


def program(calls: str) -> bytes:
    """Return a filter that answers these calls with USER_NOTIF."""
    rows = [(0x06, 0, 0, seccomp.RET_USER_NOTIF)]
    if calls != "all":
        names = [] if calls == "none" else calls.split(",")
        numbers = [arch.native().numbers[name] for name in names]
        rows = [(0x20, 0, 0, 0)]
        jumps = [(0x15, left, 0, nr) for left, nr in enumerate(numbers, 1)]
        rows += reversed(jumps)
        rows += [(0x06, 0, 0, seccomp.RET_ALLOW), (0x06, 0, 0, seccomp.RET_USER_NOTIF)]
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


async def answer(listener: int) -> None:
    """Continue every call until nobody is behind the filter."""
    notifier = Notifier(listener)
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _, events in ready.poll(0):
            if not events & select.POLLIN:
                return
            try:
                id_ = notifier.receive()[0]
            except FileNotFoundError:
                continue
            notifier.respond(id_, 0, 0, RESPONSE_CONTINUE)


async def supervise(spawned: Spawned, signals: TakenSignals) -> int:
    """Run until the whole workload has ended, or a person wants an end."""
    want_end = trio.Event()
    status = 99
    async with trio.open_nursery() as nursery:

        async def relay() -> None:
            await relay_signals(spawned, signals, want_end=want_end)

        async def end() -> None:
            await want_end.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(relay)
        nursery.start_soon(end)
        if spawned.listener is not None:
            await answer(spawned.listener)
        status = await wait_status(spawned)
        nursery.cancel_scope.cancel()
    if failure := spawned.exec_error():
        print(f"exec: {failure.strerror}", file=sys.stderr)
    return status


def main() -> None:
    """Run the command named in the arguments."""
    calls, *command = sys.argv[1:]
    flags = 0 if calls == "none" else seccomp.FILTER_FLAG_NEW_LISTENER
    with TakenSignals() as signals:
        try:
            spawned = spawn(command, program(calls), flags=flags, signals=signals.before)
        except UsageError as error:
            print(f"supervisor: {error}", file=sys.stderr)
            sys.exit(getattr(error, "status", 2))
        with spawned:
            status = trio.run(supervise, spawned, signals)
    sys.exit(status)


if __name__ == "__main__":
    main()
