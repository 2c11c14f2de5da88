"""Which terminals a workload may be given: its own, and those that it made itself.

A question is answered at a terminal. Whoever may open that could answer for the person, and so
could who writes the memory of a process that has it. What is looked at is what was opened, whatever
it is called, and not its number alone: numbers of pseudo-terminals repeat in every devpts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import TypeAlias

from notifyd.kernel import pidfd, proc, statmount, tty
from notifyd.kernel.files import PROC_SUPER_MAGIC, filesystem, status_flags

__all__ = ["Terminals"]

MAX_TERMINAL_FDS = 1000  # descriptors looked at for one answer: it is given on the loop
_INDEX = b"tty-index:\t"  # in the fdinfo of a master, since Linux 4.14
_File: TypeAlias = tuple[int, int]  # st_dev, st_ino


class Terminals:
    """The judge of opened terminals.

    Args:
        own: a descriptor of the terminal that the workload has of us. Stays the caller's.
    """

    def __init__(self, own: int) -> None:
        self._own = _file(own)
        self._filters = proc.confinement(os.getpid())

    def allows(self, fd: int, pid: int = 0) -> bool:
        """Whether a workload may have what was opened for it.

        Args:
            fd: what was opened. Stays the caller's.
            pid: for which process; it may write its own memory. 0 where nobody needs to know.
        """
        # Nothing here asks whoever serves a file: it is asked on the loop.
        mode = statmount.mode_of(fd)
        if stat.S_ISREG(mode) and _writes_memory(fd):
            return os.readlink(f"/proc/self/fd/{fd}") == f"/proc/{pid}/mem"
        if not stat.S_ISCHR(mode):
            return True
        try:
            tty.device(fd)
        except OSError as error:
            return error.errno != errno.EIO  # no terminal; or one that has hung up
        try:
            tty.index(fd)
        except OSError:
            return _file(fd) == self._own or self._is_made(fd)
        return True  # a master, of a terminal that was not there before

    def _is_made(self, fd: int) -> bool:
        """Whether somebody of the workload holds the other end of a terminal."""
        number = b"%s%d\n" % (_INDEX, os.minor(os.fstat(fd).st_rdev))
        left = MAX_TERMINAL_FDS
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                task = pidfd.open_process(pid)
                stack.callback(os.close, task)
                if proc.confinement(pid) <= self._filters:
                    continue  # a helper of ours, which has what we have
                for one in os.listdir(f"/proc/{pid}/fdinfo"):
                    left -= 1
                    if left < 0:
                        return False
                    if _has(pid, one, number) and _leads_to(task, int(one), _file(fd)):
                        return True
        return False


def _writes_memory(fd: int) -> bool:
    """Whether a file is the memory of a process, and can be written."""
    if not os.readlink(f"/proc/self/fd/{fd}").endswith("/mem"):
        return False
    if status_flags(fd) & os.O_ACCMODE == os.O_RDONLY:
        return False
    kind = statmount.kind(0, statmount.mount_of(fd))
    return (kind.magic if kind is not None else filesystem(fd)) == PROC_SUPER_MAGIC


def _has(pid: int, fd: str, line: bytes) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
        return line in file.read()
    return False


def _leads_to(task: int, number: int, terminal: _File) -> bool:
    """Whether a descriptor of a process is the other end of this very terminal."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        master = pidfd.get_fd(task, number)
        stack.callback(os.close, master)
        peer = tty.open_peer(master)
        stack.callback(os.close, peer)
        return _file(peer) == terminal
    return False


def _file(fd: int) -> _File:
    return statmount.file_of(fd)


def _descendants(pid: int) -> Iterator[int]:
    """The processes below one, nearest first: all of a workload whose reaper it is."""
    waiting = [pid]
    for one in waiting:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", "rb") as file:
                    found = [int(child) for child in file.read().split()]
                waiting += found
                yield from found
