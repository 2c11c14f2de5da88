"""The ground that runtimes stand on: a short folder, a mark on every process, and its clearing.

Everything that is started here carries a mark in its environment, and passes it on: daemons, shims,
monitors and containers are found by it, whoever their parent is. Control groups bear its name.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

PATIENCE = 40.0  # seconds; what one command of a runtime may take
VARIABLE = "NOTIFYD_TEST_GROUND"
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finished:
    """What a command left behind; the status is negative for a signal."""

    status: int
    stdout: str
    stderr: str


class Begun:
    """A command that runs. Its output goes to files: who inherits them cannot hold us up."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the command has ended
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self._end: Finished | None = None
        self.process = subprocess.Popen(
            # Whatever becomes of the tests, an orderly end is asked for.
            ["setpriv", "--pdeathsig=TERM", *words],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=environment,
            start_new_session=True,
        )

    def output(self) -> tuple[str, str]:
        """What it has written so far: standard output, standard error."""
        return _text(self._out), _text(self._err)

    def wait(self, patience: float = PATIENCE) -> Finished:
        """Wait for its end.

        Raises:
            AssertionError: it did not end in time and was killed.
        """
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {patience} s: {self.stop()}") from None
        return self._finished(status)

    def stop(self, sign: int = signal.SIGKILL, patience: float = PATIENCE) -> Finished:
        """Signal it, and kill it if that is not enough in time."""
        self.process.send_signal(sign)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._finished(self.process.wait())

    def _finished(self, status: int) -> Finished:
        if self._end is None:
            self._end = Finished(status, *self.output())
            self._out.close()
            self._err.close()
        return self._end


def _text(file: IO[bytes]) -> str:
    # The position is shared with whoever writes, so it stays where it is.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


@dataclass(frozen=True)
class Ground:
    """Where one session of tests keeps its runtimes.

    Attributes:
        folder: short, so that sockets fit; on a file system where device nodes can be used.
        mark: names this session.
        rootfs: a root file system with busybox, to be copied.
    """

    folder: Path
    mark: str
    rootfs: Path

    @classmethod
    def make(cls) -> "Ground":
        """Break new ground."""
        folder = Path(tempfile.mkdtemp(prefix="nd-", dir="/var/tmp"))
        folder.chmod(0o711)
        return cls(folder, f"notifyd-{secrets.token_hex(4)}", _busybox(folder / "busybox"))

    @property
    def variable(self) -> str:
        """What has to be in the environment of a container: how it is found."""
        return f"{VARIABLE}={self.mark}"

    @property
    def environment(self) -> dict[str, str]:
        """That of every command."""
        return {**os.environ, VARIABLE: self.mark, "LC_ALL": "C.UTF-8"}

    def begin(self, words: Sequence[str]) -> Begun:
        """Start a command."""
        return Begun(words, self.environment)

    def run(self, words: Sequence[str], patience: float = PATIENCE) -> Finished:
        """Run a command to its end."""
        return self.begin(words).wait(patience)

    def copy_rootfs(self, folder: Path, owner: int = 0) -> Path:
        """A root file system of its own for a container.

        Args:
            folder: where it is made.
            owner: the user and group on the host that own it.
        """
        shutil.copytree(self.rootfs, folder, symlinks=True)
        if owner:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner, owner, follow_symlinks=False)
        return folder

    def processes(self) -> dict[int, str]:
        """What of ours lives: process ids and command lines."""
        return {pid: line for pid in _pids() if (line := self._ours(pid)) is not None}

    def _ours(self, pid: int) -> str | None:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if self.variable.encode() not in variables:
                return None
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return None

    def cgroups(self) -> list[Path]:
        """The control groups of ours, innermost first."""
        found = [Path(one) for one, _, _ in os.walk(CGROUPS) if self.mark in one]
        return sorted(found, key=lambda path: -len(path.parts))

    def mounts(self) -> list[str]:
        """The mounts of ours in this process's own namespace."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(self.folder) in line]

    def settled(
        self, patience: float = PATIENCE, beside: Collection[int] = frozenset()
    ) -> dict[int, str]:
        """What still lives of ours after a moment for going: nothing, after an orderly end.

        Args:
            patience: seconds to wait at most.
            beside: process ids that may live on.
        """
        deadline = time.monotonic() + patience
        while True:
            alive = {pid: line for pid, line in self.processes().items() if pid not in beside}
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(0.02)

    def clear(self, patience: float = PATIENCE) -> None:
        """Kill what is left, and remove groups and files.

        Args:
            patience: seconds that processes have for going by themselves.

        Raises:
            AssertionError: something was left, or cannot be removed.
        """
        left = self.settled(patience)
        while alive := self.processes():
            for pid in alive:
                _kill(pid)
            time.sleep(0.02)
        mounts = self.mounts()
        stuck = self._stuck()
        shutil.rmtree(self.folder)
        found = {"processes": left, "mounts": mounts, "groups": stuck}
        assert not any(found.values()), f"left behind: {found}"

    def _stuck(self) -> list[str]:
        """Remove the control groups; those that cannot be."""
        deadline = time.monotonic() + PATIENCE
        while True:
            # Who ends shows its environment no more, and leaves its group a moment later.
            stuck = [str(group) for group in self.cgroups() if not _removed(group)]
            if not stuck or time.monotonic() > deadline:
                return stuck
            time.sleep(0.02)


def find_program(name: str) -> str:
    """Where a program is; the test is skipped if it is missing, and fails where CI runs it."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no {name}: .ci/prepare tools")
    return path


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _busybox(root: Path) -> Path:
    """A root file system with nothing but busybox, two users and the usual folders."""
    program = find_program("busybox")
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    shutil.copy(program, root / "bin/busybox")
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return root
