"""Stands in for the daemon: takes listeners of OCI runtimes, answers by the rules named.

    python receiver.py SOCKET EVENTS RULE...

As little as the tests of this folder need; its peers are the runtimes that they start.
"""

import contextlib
import json
import os
import socket
import sys
from pathlib import Path

import trio

from notifyd.audit.jsonl import JsonLines
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload
from notifyd.kernel import unix
from notifyd.policy.load import load
from notifyd.policy.ruleset import RuleSet

MOST = 1 << 20  # bytes of a state


async def receive_state(connection: socket.socket) -> tuple[dict, list[int]]:
    """One containerProcessState and its descriptors."""
    data, fds = b"", []
    while True:
        await trio.lowlevel.wait_readable(connection)
        piece, more, _ = unix.recv_fds(connection, MOST, unix.MAX_FDS)
        fds += more
        data += piece
        with contextlib.suppress(ValueError):
            return json.loads(data), fds
        if not piece:
            return {}, fds  # crun looks whether we are there


async def take(
    connection: socket.socket, supervisor: Supervisor, rules: RuleSet, reporter: Reporter
) -> None:
    """Supervise what arrives over a connection."""
    with connection:
        state, fds = await receive_state(connection)
    if state:
        listener, name = fds[state["fds"].index("seccompFd")], state["state"]["id"]
        supervisor.add(Workload(name, listener, rules, reporter))
        reporter.event("arrived", workload=name, state=state)
        reporter.flush()


async def main(path: str, rules: RuleSet, reporter: Reporter) -> None:
    """Serve until killed."""
    supervisor = Supervisor()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}.new")
        server.listen()
        os.rename(f"{path}.new", path)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            while True:
                await trio.lowlevel.wait_readable(server)
                connection, _ = server.accept()
                nursery.start_soon(take, connection, supervisor, rules, reporter)


if __name__ == "__main__":
    _, address, events, *names = sys.argv
    with JsonLines.open(str(Path(events))) as audit:
        trio.run(main, address, load(names), Reporter(audit=audit))
