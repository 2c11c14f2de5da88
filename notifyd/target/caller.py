"""Who calls, as far as a person's answer is about it: its file, its namespaces, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from notifyd.kernel import namespaces, proc
from notifyd.kernel.limits import MAX_USER_NAMESPACES
from notifyd.target.digests import Digests

__all__ = ["UNKNOWN_UID", "Caller", "CallerProbe"]

UNKNOWN_UID = -1  # an owner who cannot be told: no user's id
OURS = ""
HOST = "host"
# those that decide what a name or a number means
CALLER_NAMESPACES = ("mnt", "net", "ipc", "pid", "user")
_DELETED = b" (deleted)"


@dataclass(frozen=True, slots=True)
class Caller:
    """What was found.

    Attributes:
        digest: SHA-256 of its program's file, hexadecimal; "" where it could not be read.
        note: how its file is not the one that its path names for us; "" where it is.
        world: whose names it uses: "" ours, `host` those of process 1, or the namespaces' numbers.
        owners: the ids of the users whose process it is, in our user namespace: its own ids, and
            whoever owns a user namespace from its own up to ours. `UNKNOWN_UID` where that is not
            told.
    """

    digest: str
    note: str
    world: str
    owners: frozenset[int]

    @property
    def lasting(self) -> bool:
        """Whether its names mean the same to those who come later."""
        return self.world in (OURS, HOST)


class CallerProbe:
    """A look at the process behind a thread id, which has to be its target's as long as it opens.

    A context manager that closes what it has opened. `read` may wait, as for a slow file.

    Raises:
        OSError: it has ended, or is closed to us.
    """

    def __init__(self, tid: int) -> None:
        with ExitStack() as ours:
            self._directory = proc.open_dir(tid)
            ours.callback(os.close, self._directory)
            try:
                self._exe = os.open("exe", os.O_PATH | os.O_CLOEXEC, dir_fd=self._directory)
                ours.callback(os.close, self._exe)
            except OSError:
                self._exe = -1
            self._owned = ours.pop_all()

    def __enter__(self) -> CallerProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def read(self, digests: Digests, go_on: Callable[[], None]) -> Caller:
        """Read it all.

        Args:
            digests: of the workload.
            go_on: called now and then; what it raises ends the reading.
        """
        digest = ""
        if self._exe >= 0:
            try:
                # Held: what is being executed cannot be written (ETXTBSY). And whoever is killed
                # again and again must not leave a thread each time that reads to the end.
                digest = digests.compute(self._exe, held=True, go_on=go_on)
            except OSError:
                digest = ""
        return Caller(digest, self._note(), self._world(), self._owners())

    def _note(self) -> str:
        try:
            name = proc.exe(self._directory)
            if not _same(f"/proc/self/fd/{self._directory}/ns/mnt", "/proc/self/ns/mnt"):
                return "in another mount namespace"
            try:
                if self._exe >= 0 and os.path.samestat(os.lstat(name), os.fstat(self._exe)):
                    return ""
            except OSError:
                pass  # there is none of that name
        except OSError:
            return "of which notifyd cannot tell the file"
        if name.endswith(_DELETED):
            return "its file was deleted or replaced"
        return "not the file that is there now"

    def _world(self) -> str:
        own = f"/proc/self/fd/{self._directory}"
        try:
            if _same(f"{own}/root", "/proc/self/root") and _in_one(own, "/proc/self"):
                return OURS
            if _same(f"{own}/root", "/proc/1/root") and _in_one(own, "/proc/1"):
                return HOST
        except OSError:
            pass
        try:
            root = os.stat(f"{own}/root")
            numbers = [os.stat(f"{own}/ns/{kind}").st_ino for kind in CALLER_NAMESPACES]
        except OSError:
            return "unknown"
        return " ".join(map(str, (*numbers, root.st_dev, root.st_ino)))

    def _owners(self) -> frozenset[int]:
        try:
            return frozenset(proc.read_status(self._directory).uid) | self._namespace_owners()
        except OSError:
            return frozenset({UNKNOWN_UID})

    def _namespace_owners(self) -> set[int]:
        """Who owns its user namespace, and those around it up to ours: ioctl_ns(2)."""
        found: set[int] = set()
        ours = os.stat("/proc/self/ns/user")
        flags = os.O_RDONLY | os.O_CLOEXEC
        space = os.open("ns/user", flags, dir_fd=self._directory)
        try:
            for _ in range(MAX_USER_NAMESPACES):
                if os.path.samestat(os.fstat(space), ours):
                    return found
                found.add(namespaces.owner(space))
                above = namespaces.parent(space)  # EPERM: it does not lie within ours
                os.close(space)
                space = above
        finally:
            os.close(space)
        return {UNKNOWN_UID}


def _same(one: str, other: str) -> bool:
    return os.path.samestat(os.stat(one), os.stat(other))


def _in_one(one: str, other: str) -> bool:
    return all(_same(f"{one}/ns/{kind}", f"{other}/ns/{kind}") for kind in CALLER_NAMESPACES)
