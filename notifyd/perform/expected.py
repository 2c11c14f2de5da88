"""What a program has to be when it begins: the file, the digest, the arguments, the environment.

Owns the comparison with a process that stands at its exec stop. It may take long, and runs where it
holds up nobody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from notifyd.kernel.files import READ_FLAGS
from notifyd.target.digests import Digests

__all__ = ["Difference", "Expected"]

_PIECE = 1 << 20  # bytes
MAX_DIFFERENCE_BYTES = 200  # bytes of what differs, in an event


class Difference(NamedTuple):
    """What a process is that should have been something else.

    Attributes:
        about: `file`, `interpreter`, `sha256`, `argv` or `envp`.
        expected: what the rule saw, as much as an event tells.
        found: what was about to run.
    """

    about: str
    expected: bytes
    found: bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """What a rule saw, and what follows from it.

    Attributes:
        name: the file's name, for events.
        file: O_PATH, of what the call names. As all descriptors, somebody else's.
        program: O_PATH, of what is loaded: the same, or the interpreter of a script.
        line: the first arguments of an interpreter: what the script's first line says, and the
            script's name. Without it another script of the same interpreter would do as well.
        sha256: the digest that the rule saw of `file`; None if it did not look.
        argv: the arguments that the new program has to have; None if the rule did not look.
        envp: the environment, likewise.
        digests: those that are known.
    """

    name: bytes
    file: int
    program: int
    line: Sequence[bytes]
    sha256: str | None
    argv: Sequence[bytes] | None
    envp: Sequence[bytes] | None
    digests: Digests

    def compare(self, pid: int) -> Difference | None:
        """Compare with a process at its exec stop; None if nothing differs. May wait.

        Raises:
            OSError: it cannot be looked into, or has died.
        """
        # The file, not its name: names can be many, and move. What is pinned cannot be freed, so
        # its inode number is nobody else's.
        if not os.path.samestat(os.stat(f"/proc/{pid}/exe"), os.fstat(self.program)):
            about = "file" if self.file == self.program else "interpreter"
            found = os.fsencode(os.readlink(f"/proc/{pid}/exe"))
            return Difference(about, self._named(), found)
        return self._digest() or self._strings(pid)

    def _digest(self) -> Difference | None:
        if self.sha256 is None:
            return None
        # Now nobody can write to what is executed; a script is not executed, but read.
        held = self.file == self.program
        found = self.digests.compute(self.file, held=held)
        if found == self.sha256:
            return None
        return Difference("sha256", self.sha256.encode(), found.encode())

    def _strings(self, pid: int) -> Difference | None:
        for about, file, strings in (
            ("argv", "cmdline", self.line if self.argv is None else self.argv),
            ("envp", "environ", self.envp),
        ):
            if not strings and (strings is None or about == "argv"):
                continue
            wanted = b"\0".join((*strings, b""))
            found = _read(f"/proc/{pid}/{file}", len(wanted) + MAX_DIFFERENCE_BYTES)
            whole = about == "envp" or self.argv is not None
            if found != wanted if whole else not found.startswith(wanted):
                return Difference(about, *_around(wanted, found))
        return None

    def _named(self) -> bytes:
        return os.fsencode(os.readlink(f"/proc/self/fd/{self.program}"))


def _read(path: str, most: int) -> bytes:
    """The first `most` bytes of a file of /proc."""
    fd = os.open(path, READ_FLAGS)
    try:
        found = bytearray()
        while len(found) < most and (piece := os.read(fd, min(most - len(found), _PIECE))):
            found += piece
        return bytes(found)
    finally:
        os.close(fd)


def _around(wanted: bytes, found: bytes) -> tuple[bytes, bytes]:
    """The strings from the first that differs on."""
    same, beyond = 0, min(len(wanted), len(found)) + 1
    while beyond - same > 1:  # bisected, since they may be megabytes
        middle = (same + beyond) // 2
        if wanted[:middle] == found[:middle]:
            same = middle
        else:
            beyond = middle
    start = wanted.rfind(b"\0", 0, same) + 1
    return wanted[start : start + MAX_DIFFERENCE_BYTES], found[start : start + MAX_DIFFERENCE_BYTES]
