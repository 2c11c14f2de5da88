"""Starts a command COUNT times and hands each one's listener to a daemon; ends when all have.

    python handing.py SOCKET SECTION COUNT COMMAND...

The commands have this process's standard input and output.
"""

from __future__ import annotations

import os
import sys

from notifyd import handover
from notifyd.intake.handover import ask_program
from notifyd.launch.spawn import is_killable, listener_flags, spawn


def main(path: str, section: str, count: int, command: list[str]) -> None:
    """Start them all, then wait for them all."""
    offer = ask_program(id="bench", path=path, section=section)
    flags = listener_flags()
    started = []
    for number in range(count):
        one = spawn(command, offer.filter, flags=flags)
        listener, one.listener = one.listener, None
        assert listener is not None
        handover(
            listener,
            id=f"bench-{number}",
            path=path,
            section=section,
            pid=one.pid,
            killable=is_killable(flags),
            program=offer.digest,
        )
        os.close(listener)
        started.append(one)
    for one in started:
        os.waitpid(one.pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
