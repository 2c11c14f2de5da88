"""The first line of a script, read as the kernel reads it (fs/binfmt_script.c in Linux)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BINPRM_BUF_SIZE", "MAX_INTERPRETERS", "Interpreter", "interpreter"]

BINPRM_BUF_SIZE = 256  # bytes that the kernel looks at: BINPRM_BUF_SIZE, since Linux 5.1
MAX_INTERPRETERS = 5  # scripts whose interpreter is a script; beyond it is ELOOP
_BLANK = b" \t"


class Interpreter(NamedTuple):
    """What a script names.

    Attributes:
        path: relative to the working directory, if it is not absolute.
        argument: the rest of the line as one argument; None where there is none.
    """

    path: bytes
    argument: bytes | None


def interpreter(head: bytes) -> Interpreter | None:
    """Who executes a file that begins with `head`; None if it is no script, or a broken one.

    Args:
        head: the first `BINPRM_BUF_SIZE` bytes, fewer if the file is shorter.
    """
    if not head.startswith(b"#!"):
        return None
    buffer = head[:BINPRM_BUF_SIZE].ljust(BINPRM_BUF_SIZE, b"\0")
    line, newline, _ = buffer[2:].partition(b"\n")
    if not newline or b"\0" in line:  # the kernel looks for the newline up to a NUL
        line = buffer[2 : BINPRM_BUF_SIZE - 1]
        # A name that ends where the buffer does may have been cut.
        if not _has_end(line.lstrip(_BLANK)):
            return None
    line = line.rstrip(_BLANK).lstrip(_BLANK)
    if not line:
        return None
    at = next((at for at, byte in enumerate(line) if byte in b" \t\0"), len(line))
    path, rest = line[:at], line[at:]
    argument = None
    if rest and rest[:1] != b"\0":
        argument = rest.lstrip(_BLANK).partition(b"\0")[0]
    return Interpreter(path, argument) if path else None


def _has_end(text: bytes) -> bool:
    return any(byte in b" \t\0" for byte in text)
