"""sd_notify(3): telling systemd how the daemon is, and that its loop still runs.

Owns the socket to the service manager. It never raises: the daemon runs on if no one listens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from struct import Struct

import trio

from notifyd.kernel import unix

__all__ = ["Manager", "is_restart"]

_TIMEVAL = Struct("@ll")
_MAX_STATUS_CHARS = 500  # characters of a status; it is one line for people
# Microseconds that a message may wait while systemd has so many to read. One that says that we are
# ready must not get lost; the pets of the watchdog do not wait.
_SEND_TIMEOUT_US = 200_000
_STOP_REASON_TIMEOUT_S = 3.0  # seconds that systemd may take to say why it ends us


class Manager:
    """The service manager, if there is one. A context manager that closes the socket to it.

    Attributes:
        watchdog_interval: seconds from one pet to the next: half of what systemd waits before it
            takes us for hung. None if it does not watch us.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take systemd's variables out of the environment, so that no child speaks in our name.

        Args:
            environment: os.environ; NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are removed.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        limit, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        self._socket = _connected(address)
        self.watchdog_interval = None if self._socket is None else _half(limit, pid)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self) -> None:
        """The start is over, or the reload: READY=1."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        line = "".join(one if one.isprintable() else " " for one in text[:_MAX_STATUS_CHARS])
        self._tell(f"STATUS={line}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, however it went: RELOADING=1.

        systemd from 253 on asks for the time at which it began (Type=notify-reload).
        """
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    @property
    def keeps(self) -> bool:
        """Whether there is a service manager that could keep descriptors for us."""
        return self._socket is not None

    def keep(self, name: str, descriptor: int) -> None:
        """Have a copy of a descriptor kept: a successor gets it, as from socket activation.

        Only as many as FileDescriptorStoreMax= says; there is no error if it is one too many.

        Args:
            name: printable, at most 255 characters, without a colon.
            descriptor: stays ours.
        """
        if self._socket is not None:
            text = f"FDSTORE=1\nFDNAME={name}".encode()
            with suppress(OSError):
                unix.send_fds(self._socket, text, [descriptor])

    def drop(self, name: str) -> None:
        """Have the descriptors of a name kept no more."""
        self._tell(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def stopping(self) -> None:
        """The end has begun: STOPPING=1."""
        self._tell("STOPPING=1")

    async def watch(self, alive: Callable[[], bool]) -> None:
        """Pet the watchdog for as long as the loop comes round and `alive` says yes.

        Returns at once without a watchdog. A hung loop does not get here, so that systemd kills
        the process and starts another.

        Args:
            alive: whether all that must run does; asked every `watchdog_interval`.
        """
        while self.watchdog_interval is not None:
            if alive():
                self._tell("WATCHDOG=1", socket.MSG_DONTWAIT)
            await trio.sleep(self.watchdog_interval)

    def _tell(self, text: str, flags: int = 0) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(text.encode("utf-8", "replace"), flags | socket.MSG_NOSIGNAL)


def _connected(address: str) -> socket.socket | None:
    """A socket to systemd; None if there is no such address."""
    if address[:1] not in ("/", "@"):
        return None
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(0, _SEND_TIMEOUT_US))
        ours.connect(f"\0{address[1:]}" if address[0] == "@" else address)
    except OSError:
        ours.close()
        return None
    return ours


def _half(limit: str, pid: str) -> float | None:
    """sd_watchdog_enabled(3): the limit is in microseconds, and for this process only."""
    if not (limit.isascii() and limit.isdigit() and int(limit)):
        return None
    return int(limit) / 2_000_000 if pid in ("", str(os.getpid())) else None


async def is_restart() -> bool:
    """Whether systemd ends us to restart us; False if that cannot be found out.

    systemd (252) keeps the descriptors of a service that was stopped for as long as it likes: who
    is stopped has to let go by itself.
    """
    unit = _own_unit()
    if not unit:
        return False
    command = ["systemctl", "list-jobs", "--no-legend", "--plain"]
    with trio.move_on_after(_STOP_REASON_TIMEOUT_S), suppress(OSError):
        done = await trio.run_process(command, capture_stdout=True, check=False)
        jobs = [line.split() for line in done.stdout.decode("utf-8", "replace").splitlines()]
        return any(job[1:3] == [unit, "restart"] for job in jobs)
    return False


def _own_unit() -> str:
    """The unit that we run in, by our cgroup; "" if it is not one."""
    try:
        with open("/proc/self/cgroup") as file:
            names = [line.rstrip("\n").rpartition("/")[2] for line in file]
    except OSError:
        return ""
    return next((name for name in names if name.endswith(".service")), "")
