"""Who a process is and who began it, for a person to judge by. What it says of itself is hostile.

For people only: names and arguments are the processes' own words, and may change at any time.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from notifyd.events.sanitize import printable
from notifyd.kernel import proc

__all__ = ["Ancestor", "ancestry"]

MAX_ANCESTRY = 16  # processes, the one that was asked for included
MAX_CMDLINE_CHARS = 1000  # characters of a command line


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A process.

    Attributes:
        pid: in our pid namespace.
        name: what it calls itself, harmless.
        cmdline: its arguments in one line, quoted for a shell; harmless, and cut.
        uid: its effective user.
    """

    pid: int
    name: str
    cmdline: str
    uid: int


def ancestry(pid: int, start: int) -> tuple[Ancestor, ...]:
    """A process and its ancestors, it first; as many as can be read.

    It may wait as long as a process likes that keeps a page of its arguments from arriving.

    Args:
        pid: in our pid namespace.
        start: when it began, in clock ticks since boot. If it is another by now, there is nothing.
    """
    found: list[Ancestor] = []
    while pid and len(found) < MAX_ANCESTRY:
        try:
            directory = proc.open_dir(pid)
        except OSError:
            break
        try:
            if not found and proc.start_time(proc.read_stat(directory)) != start:
                break
            status = proc.read_status(directory)
            found.append(_relative(pid, status, proc.cmdline(directory)))
            pid = status.ppid
        except (OSError, ValueError):
            break
        finally:
            os.close(directory)
    return tuple(found)


def _relative(pid: int, status: proc.TaskStatus, arguments: list[bytes]) -> Ancestor:
    name = status.name.decode("utf-8", "backslashreplace")
    # Cut before anything is made of it: there may be 64 KiB of it.
    words = [
        one[:MAX_CMDLINE_CHARS].decode("utf-8", "backslashreplace")
        for one in arguments[:MAX_CMDLINE_CHARS]
    ]
    return Ancestor(
        pid, printable(name), printable(shlex.join(words), MAX_CMDLINE_CHARS), status.uid[1]
    )
