"""Older files of a log: when a new one begins, how many are kept, and packing them meanwhile.

Owns the thread that packs and removes; the file that is written is `jsonl`'s.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from notifyd.events.logfile import name_of_rotated, rotated
from notifyd.threads import start_thread

__all__ = ["Rotation", "RotationPolicy"]

_RETRY_INTERVAL_S = 60.0  # seconds after which a rotation that failed is tried again
_COPY = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When a new file begins, and what happens to the older ones.

    Attributes:
        max_size: bytes after which it does; 0 for no limit.
        max_age: seconds after which it does; 0 for no limit.
        keep: how many older ones are kept; 0 for all.
        compress: whether they are packed with gzip.
    """

    max_size: int = 0
    max_age: float = 0.0
    keep: int = 0
    compress: bool = False


class Rotation:
    """Tells when it is time, and does what can be done in a thread.

    Args:
        path: of the file that is written.
        complain: gets one line for each failure.

    Attributes:
        is_file: whether it is one; a FIFO is not.
    """

    def __init__(self, path: str, keeping: RotationPolicy, complain: Callable[[str], None]) -> None:
        self._path = path
        self._keeping = keeping
        self._complain = complain
        self._thread: threading.Thread | None = None
        self._again = False
        self._not_before = 0.0
        self.is_file = False
        self._size = 0  # as it was opened
        self._begun = 0.0

    def begin(self, descriptor: int) -> None:
        """Look at a file that was opened."""
        about = os.fstat(descriptor)
        self.is_file = stat.S_ISREG(about.st_mode)
        self._size = about.st_size
        self._begun = about.st_mtime if about.st_size else time.time()

    def is_due(self, written: int, more: int) -> bool:
        """Whether a new file should begin before `more` bytes come to those that were `written`."""
        keeping = self._keeping
        if not self.is_file or not (keeping.max_size or keeping.max_age):
            return False
        large = keeping.max_size and self._size + written + more > keeping.max_size
        old = keeping.max_age and time.time() - self._begun > keeping.max_age
        return bool(large or old) and time.monotonic() >= self._not_before

    def move(self, descriptor: int, first: int) -> str:
        """Give the file that is written its name as an older one.

        Args:
            descriptor: of that file.
            first: the number of its first record.

        Returns:
            The name; "" if it was moved already, as logrotate does.

        Raises:
            OSError: it cannot be renamed.
        """
        try:
            if not os.path.samestat(os.stat(self._path), os.fstat(descriptor)):
                return ""
        except FileNotFoundError:
            return ""
        name = name_of_rotated(self._path, first)
        os.rename(self._path, name)
        return name

    def failed(self, name: str, error: Exception) -> None:
        """It failed: the old file is kept in use, and it is tried again later."""
        self._not_before = time.monotonic() + _RETRY_INTERVAL_S
        if name:
            os.rename(name, self._path)
        self._complain(f"audit: {self._path!r} cannot be rotated ({error}); it grows on")

    def prune(self) -> None:
        """Pack and remove older files, in a thread."""
        if self._keeping.keep or self._keeping.compress:
            self._again = True
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._prune_all, name="audit-rotation")
                with suppress(OSError):  # no more threads now: it is done with the next file
                    start_thread(thread)
                    self._thread = thread

    def close(self) -> None:
        """Wait until what was begun is done."""
        if self._thread is not None:
            self._thread.join()
            self._prune_all()  # it may have been asked for when the thread was about to end

    def _prune_all(self) -> None:
        while self._again:
            self._again = False
            self._prune()

    def _prune(self) -> None:
        try:
            older = rotated(self._path)
            if self._keeping.keep:
                for name in older[: -self._keeping.keep]:
                    os.unlink(name)
                older = older[-self._keeping.keep :]
            for name in older if self._keeping.compress else ():
                if not name.endswith(".gz"):
                    _pack(name)
        except OSError as error:
            self._complain(f"audit: {error.filename!r}: {error.strerror}; an older file stays")


def _pack(name: str) -> None:
    """Replace a file by its gzip. At any time one of both is there whole."""
    import gzip  # a run that rotates nothing must start fast
    import shutil

    draft = f"{name}.gz.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(name, "rb") as plain, open(os.open(draft, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(plain.fileno()).st_mode))
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, _COPY)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, f"{name}.gz")
    os.unlink(name)
