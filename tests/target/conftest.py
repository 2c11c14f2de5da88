"""The same target twice: as values, and as a real child that is stopped in a real call."""

import contextlib
import ctypes
import mmap
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from notifyd.bpf.build import compile_profile
from notifyd.bpf.profile import ALLOW, NOTIFY, ArchTable, Clause, Profile
from notifyd.kernel import prctl, seccomp, unix
from notifyd.kernel.arch import native
from notifyd.kernel.unotify import Notifier
from notifyd.target.paths import WouldBlock
from notifyd.target.thread import StoppedThread
from notifyd.testing import FakeProcess, FakeTarget

PAGE = mmap.PAGESIZE
PATIENCE = 20.0  # seconds; what a test waits at most for the kernel


@dataclass
class Stage:
    """A target and what is true of it.

    Attributes:
        target: the fake or the real one.
        base: the address of two pages, after which nothing is mapped.
        cwd: its working directory.
        dirfd: its descriptor of `cwd/sub`.
        process: what its process is.
        peek: read its memory by other means.
        leave: make it go away.
    """

    target: Any
    base: int
    cwd: Path
    dirfd: int
    process: dict[str, Any]
    peek: Callable[[int, int], bytes]
    leave: Callable[[], None]

    def resolve(self, dirfd: int, pathname: bytes, follow: bool = True) -> PurePosixPath:
        """Resolve a path; a look that may wait is made to wait."""
        while True:
            try:
                return self.target.resolve(dirfd, pathname, follow)
            except WouldBlock as slow:
                slow.look()


def pages() -> bytes:
    """What the target has in its two pages."""
    data = bytearray(b"\xee" * 2 * PAGE)
    data[0:6] = b"hello\0"
    data[PAGE - 3 : PAGE + 4] = b"across\0"
    data[2 * PAGE - 4 :] = b"end\0"
    return bytes(data)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with `sub/file`, and the links `link`, `absolute`, `loop`."""
    top = tmp_path.resolve()
    (top / "sub").mkdir()
    (top / "sub" / "file").touch()
    (top / "link").symlink_to("sub")
    (top / "absolute").symlink_to(top / "sub")
    (top / "loop").symlink_to("loop")
    return top


@pytest.fixture(params=["fake", "real"])
def stage(request: pytest.FixtureRequest, tree: Path) -> Iterator[Stage]:
    """Both targets, one after the other: a test that takes this is a part of the contract."""
    with contextlib.ExitStack() as stack:
        yield (_fake if request.param == "fake" else _real)(tree, stack)


def _process(pid: int, tree: Path) -> dict[str, Any]:
    return {
        "pid": pid,
        "tid": pid,
        "ppid": os.getpid(),
        "exe": PurePosixPath(os.readlink("/proc/self/exe")),
        "cmdline": tuple(Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]),
        "cwd": PurePosixPath(tree),
        "uid": os.geteuid(),
        "gid": os.getegid(),
    }


def _fake(tree: Path, stack: contextlib.ExitStack) -> Stage:
    process = _process(4321, tree)
    links = {str(tree / name): os.readlink(tree / name) for name in ("link", "absolute", "loop")}
    base, dirfd = 0x10_0000, 7
    made = FakeProcess(**process)
    target = FakeTarget({base: pages()}, made, {dirfd: str(tree / "sub")}, links)

    def peek(address: int, size: int) -> bytes:
        return target.memory[base][address - base : address - base + size]

    return Stage(target, base, tree, dirfd, process, peek, lambda: setattr(target, "gone", True))


def _real(tree: Path, stack: contextlib.ExitStack) -> Stage:
    memory = mmap.mmap(-1, 3 * PAGE)
    memory[: 2 * PAGE] = pages()
    view = ctypes.c_char.from_buffer(memory)
    base = ctypes.addressof(view)
    dirfd = os.open(tree / "sub", os.O_PATH | os.O_DIRECTORY)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if not pid:
            _be_stopped(theirs, tree, base + 2 * PAGE)
        os.close(dirfd)
        stack.callback(_end, pid)
        _, (listener,), _ = unix.recv_fds(ours, 1, 1)
    stack.callback(os.close, listener)
    notifier = Notifier(listener)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    assert poll.poll(PATIENCE * 1000)
    note = notifier.receive()

    def peek(address: int, size: int) -> bytes:
        with open(f"/proc/{pid}/mem", "rb") as file:
            file.seek(address)
            return file.read(size)

    target = StoppedThread(note, notifier)
    return Stage(target, base, tree, dirfd, _process(pid, tree), peek, lambda: _end(pid))


def _be_stopped(channel: socket.socket, tree: Path, closed: int) -> None:
    """In the child: hand over the listener, and make the call that stops."""
    try:
        prctl.set_no_new_privs()
        prctl.set_pdeathsig(signal.SIGKILL)
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(closed), PAGE, 0)
        os.chdir(tree)
        clauses = {native().numbers["getppid"]: (Clause(NOTIFY, ((),)),)}
        profile = Profile(ALLOW, (ArchTable(native().name, clauses),), ALLOW)
        program = compile_profile(profile).program.to_bytes()
        listener = seccomp.install(program, seccomp.FILTER_FLAG_NEW_LISTENER)
        unix.send_fds(channel.fileno(), b"!", [listener])
        os.close(listener)
        os.getppid()
    finally:
        os._exit(1)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
