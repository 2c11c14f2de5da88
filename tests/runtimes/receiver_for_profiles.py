"""Real runtimes, a bundle with busybox, and somebody who takes listeners, for tests of profiles.

The receiver is no daemon: it continues every call but mknod of a device, which gets `MARK`. A test
that sees the mark knows that the call left the kernel, and came to the listener that was handed
over.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notifyd.kernel.arch import native
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier

MARK = errno.EXDEV
MARKED = "Invalid cross-device link"  # what busybox says to it
RUNTIMES = ("runc", "crun")
WRAPPER = Path(sys.executable).with_name("notifyd-runtime")
MKNOD = "mknod /tmp/null c 1 3"

# crun 1.8 refuses a machine that has both versions of cgroups mounted.
_V1 = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
_PATIENCE = 30  # seconds


class Receiver:
    """A socket that takes the listeners of containers, and answers them until it is closed."""

    def __init__(self, path: Path) -> None:
        self.states: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        while self._threads:
            self._threads.pop().join(_PATIENCE)
        self._socket.close()

    @property
    def metadata(self) -> list[str | None]:
        """What came with each listener, in order."""
        return [state.get("metadata") for state in self.states]

    def _accept(self) -> None:
        while not self._ending.is_set():
            if select.select([self._socket], [], [], 0.1)[0]:
                connection, _ = self._socket.accept()
                with connection:
                    connection.settimeout(_PATIENCE)
                    self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        data, fds, _, _ = socket.recv_fds(connection, 65536, 8)
        # Not until its end: runc 1.1 keeps the connection open while the container starts.
        while (state := _whole(data)) is None:
            data += connection.recv(65536)
        self.states.append(state)
        for name, fd in zip(state["fds"], fds, strict=True):
            assert name == "seccompFd"
            self._threads.append(threading.Thread(target=self._answer, args=(fd,)))
            self._threads[-1].start()

    def _answer(self, listener: int) -> None:
        notifier = Notifier(listener)
        ready = select.poll()
        ready.register(listener, select.POLLIN)
        made = {native().numbers["mknod"], native().numbers["mknodat"]}
        while not self._ending.is_set():
            for _, events in ready.poll(100):
                if not events & select.POLLIN:
                    return os.close(listener)
                try:
                    id_, _, _, number, *_ = notifier.receive()
                except FileNotFoundError:
                    continue
                if number in made:
                    notifier.respond(id_, 0, -MARK, 0)
                else:
                    notifier.respond(id_, 0, 0, RESPONSE_CONTINUE)
        return os.close(listener)


def _whole(data: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(data)
    except ValueError:
        return None
    return found


class Bundle:
    """A container of busybox, with a runtime for it.

    Args:
        folder: empty; all of it is the bundle's.
        runtime: what its `config.json` is for, `runc` or `crun`.
    """

    def __init__(self, folder: Path, runtime: str) -> None:
        self.folder, self.runtime = folder, runtime
        root = folder / "rootfs"
        for name in ("bin", "dev", "proc", "sys", "tmp"):
            (root / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
        for name in ("sh", "mknod", "sleep", "true", "echo"):
            (root / "bin" / name).symlink_to("busybox")
        subprocess.run([runtime, "spec"], cwd=folder, check=True, timeout=_PATIENCE)

    def configure(self, command: str, **others: Any) -> None:
        """Have the container run a shell command; `others` are keys of the configuration."""
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        config["process"] |= {"args": ["/bin/sh", "-c", command], "rlimits": [], "terminal": False}
        config["root"]["readonly"] = False
        config["linux"].pop("seccomp", None)
        if "seccomp" in others:
            config["linux"]["seccomp"] = others.pop("seccomp")
        path.write_text(json.dumps(config | others))

    def call(
        self, *words: str, wrapped: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Call the runtime: `call("run", "--bundle", ..., ID)`.

        Args:
            words: after `--root`.
            wrapped: the settings of notifyd-runtime, which is called instead then.
            check: whether it has to succeed.
        """
        program = self.runtime if wrapped is None else str(WRAPPER)
        command = [program, "--root", str(self.folder / "state"), *words]
        environment = os.environ | {
            "NOTIFYD_RUNTIME": self.runtime,
            "NOTIFYD_RUNTIME_CONFIG": str(wrapped),
        }
        # Files and no pipes: a container that goes on after `create` has them open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                _inside(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                check=False,
                timeout=_PATIENCE,
            )
            out.seek(0)
            err.seek(0)
            ran = subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())
        assert not check or ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    def run(self, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run the container to its end."""
        return self.call("run", "--bundle", str(self.folder), self.name, **how)

    @property
    def name(self) -> str:
        """The container's id."""
        return f"notifyd-test-{os.getpid()}-{self.runtime}"


def _inside(command: Sequence[str]) -> list[str]:
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", _V1, "v1", *command]
