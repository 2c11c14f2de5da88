"""What tests of every folder may use."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, settings

from notifyd.kernel import arch, prctl, seccomp, unix

# How fast inputs are made on a busy machine is no property of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("units", settings.get_profile("busy"), max_examples=25)
settings.load_profile("busy")

PATIENCE = 20.0  # seconds; what a test waits at most
HERE = Path(__file__).parent
# Folders of unit tests: they mirror a package of notifyd, or the rules that ship.
MIRRORS = {one.parent.name for one in (HERE.parent / "notifyd").glob("*/__init__.py")} | {"rules"}


# What unit tests may start by name: Debian's essential packages have it, and git made the checkout.
PROGRAMS = """
    [ bash cat chmod cp cut date dd echo env expr false find git grep head hostname id kill ln ls
    mkdir mknod mount mv printf ps pwd readlink rm rmdir sed seq setpriv sh sleep sort stat stty
    tail tee test touch tr true tty umount uname unshare wc which xargs yes
"""


def pytest_configure(config: pytest.Config) -> None:
    """Have the signals that tests send, and for unit tests alone the programs that all have."""
    if config.option.markexpr == "unit":
        os.environ["PATH"] = few_programs(config)
        settings.load_profile("units")
    # A shell that starts us in the background ignores some.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            python = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if python else signal.SIG_DFL)


def few_programs(config: pytest.Config) -> str:
    """A PATH on which only `PROGRAMS` are, and what pip has installed."""
    folder = tempfile.mkdtemp(prefix="nt-bin-")
    config.add_cleanup(lambda: shutil.rmtree(folder))
    os.chmod(folder, 0o755)
    for name in PROGRAMS.split():
        if found := shutil.which(name):
            os.symlink(found, f"{folder}/{name}")
    return f"{folder}:{Path(sys.executable).parent}"


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Give the mark `unit` to what `make check` runs, and skip what needs root without it."""
    for item in items:
        if is_unit(item):
            item.add_marker(pytest.mark.unit)
        elif os.geteuid() and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def is_unit(item: pytest.Item) -> bool:
    """Whether a test runs anywhere, as any user, and fast: CONTRIBUTING.md has the rule."""
    folder, *deeper = item.path.relative_to(HERE).parts
    mirrors = folder in MIRRORS or not deeper
    whole = "whole" in getattr(item, "fixturenames", ())
    return mirrors and not whole and item.get_closest_marker("root") is None


@pytest.fixture
def whole() -> None:
    """For tests that need more: notifyd as a command, a terminal, rare programs, or seconds."""


def _open() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture
def no_fd_left() -> Iterator[None]:
    """Fail a test that ends with other descriptors than it began with."""
    before = _open().keys()
    yield
    after = _open()
    assert {fd: after[fd] for fd in after.keys() - before} == {}, sys.version


def _program(names: tuple[str, ...], action: int) -> bytes:
    """Return BPF that answers these native calls with an action and allows all others."""
    rows = [(0x20, 0, 0, 0)]  # load the number
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        rows.append((0x15, left, 0, arch.native().numbers[name]))
    rows += [(0x06, 0, 0, seccomp.RET_ALLOW), (0x06, 0, 0, action)]
    return b"".join(struct.pack("=HBBI", *row) for row in rows)


@pytest.fixture
def program_for() -> Callable[..., bytes]:
    """Make BPF for native calls: `program_for("getppid", action=...)`."""
    return lambda *names, action=seccomp.RET_USER_NOTIF: _program(names, action)


KILLABLE = seccomp.FILTER_FLAG_NEW_LISTENER | seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV


class Child:
    """A child of ours behind a filter, which runs a function and exits with its result."""

    def __init__(self, work: Callable[[], int], program: bytes, flags: int) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.pid = os.fork()
            if not self.pid:
                self._become(theirs, work, program, flags)
            _, (self.listener,), _ = unix.recv_fds(ours, 1, 1)

    @staticmethod
    def _become(end: socket.socket, work: Callable[[], int], program: bytes, flags: int) -> None:
        status = 99
        try:
            prctl.set_no_new_privs()
            prctl.set_pdeathsig(signal.SIGKILL)
            listener = seccomp.install(program, flags)
            unix.send_fds(end.fileno(), b"!", [listener])
            os.close(listener)
            status = work()
        finally:
            os._exit(status)

    async def status(self) -> int:
        """Wait for it to end; its exit status, negative for a signal."""
        with trio.fail_after(PATIENCE):
            descriptor = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Kill and reap it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


@pytest.fixture
def start_child() -> Iterator[Callable[..., Child]]:
    """Start a child behind a filter: `start_child(work, program)`. Its listener is the caller's."""
    with contextlib.ExitStack() as stack:

        def start(work: Callable[[], int], program: bytes, flags: int = KILLABLE) -> Child:
            child = Child(work, program, flags)
            stack.callback(child.close)
            return child

        yield start
