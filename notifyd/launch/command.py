"""What a child executes: which file, which arguments, which environment.

Owns the search along PATH, done before the filter so that only execve(2) is left for after it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from notifyd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CannotStart", "Command", "exit_status", "native_environment", "search"]

NOT_FOUND = 127  # as shells and env(1) do
NOT_EXECUTABLE = 126

_SHELL = b"/bin/sh"
_ELSEWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)  # look in the next directory

# What Python's start-up may put there when the locale is "C" (PEP 538).
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


class CannotStart(UsageError):
    """The command did not start.

    Attributes:
        status: What to exit with: 127 no such command, 126 it cannot be executed, 2 anything else
            that the person can mend, 128 + n if a signal ended it before it was started.
    """

    def __init__(self, text: str, status: int = 2) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Command:
    """One file to execute, found already.

    Attributes:
        path: What execve(2) is given; relative only if PATH or the person said so.
        argv: All arguments, the name first.
        environment: The whole environment.
    """

    path: bytes
    argv: list[bytes]
    environment: Mapping[bytes, bytes]

    def rehearse(self) -> None:
        """Make all allocations of `execute` once, so that it finds them in the free lists.

        Under a filter even brk(2) and mmap(2) may be trapped.
        """
        for argv in (self.argv, self._as_script()):
            try:
                # ENOENT: there is no such name.
                os.execve(b"", argv, self.environment)  # noqa: S606
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def execute(self) -> NoReturn:
        """Become the command; a file without a known format is given to /bin/sh, as execvp(3) does.

        Raises:
            OSError: As execve(2), or what the filter answered.
        """
        try:
            os.execve(self.path, self.argv, self.environment)  # noqa: S606
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        os.execve(_SHELL, self._as_script(), self.environment)  # noqa: S606

    def _as_script(self) -> list[bytes]:
        return [_SHELL, self.path, *self.argv[1:]]


def exit_status(error: OSError) -> int:
    """Return what shells and env(1) exit with after such an execve(2)."""
    return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


def search(name: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    """Find a command as execvp(3) does, with the rights of the calling process.

    Args:
        name: With a slash a path, without one to be looked for.
        environment: Its PATH says where; `/bin:/usr/bin` if there is none.

    Returns:
        A path that is there and may be executed, as far as can be told without doing it.

    Raises:
        OSError: ENOENT: nowhere. EACCES: found, but not executable, or only so. EISDIR, ELOOP.
    """
    if b"/" in name:
        _check(name)
        return name
    failure = errno.ENOENT
    for directory in environment.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        path = directory + b"/" + name if directory else name
        try:
            if name:
                _check(path)
                return path
        except IsADirectoryError:
            failure = errno.EACCES
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                failure = error.errno or errno.EACCES
    raise OSError(failure, os.strerror(failure))


def _check(path: bytes) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def native_environment() -> dict[bytes, bytes]:
    """Return our environment without what Python's own start-up added to it.

    Under the "C" locale Python sets LC_CTYPE (PEP 538), which a command run natively would not see.
    /proc/self/environ still has what we were started with.
    """
    environment = dict(os.environb)
    if environment.get(b"LC_CTYPE") in _COERCED:
        started_with = _initial()
        if started_with is not None and not started_with.get(b"LC_CTYPE"):
            environment.pop(b"LC_CTYPE")
            environment.update({k: v for k, v in started_with.items() if k == b"LC_CTYPE"})
    return environment


def _initial() -> dict[bytes, bytes] | None:
    """Return the environment of our own execve; None where /proc does not show it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    return {key: value for key, equals, value in (e.partition(b"=") for e in entries) if equals}
