"""An executor of our own process, and the descriptors that it needs."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from notifyd.perform.execute import Executor
from notifyd.perform.helper_request import HelperReply, HelperRequest, Place


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The open /proc/self/fd, which is the working directory meanwhile."""
    before = os.open(".", os.O_PATH)
    descriptor = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    os.fchdir(descriptor)
    yield descriptor
    os.fchdir(before)
    os.close(descriptor)
    os.close(before)


@pytest.fixture
def execute(own: int, no_fd_left: None) -> Callable[..., tuple[HelperReply, int | None]]:
    """Do an order: `execute("mkdirat", [Place(...)], [args])`."""
    executor = Executor(own, (0, 0))

    def run(
        call: str, places: list[Place], args: list, *fds: int, **more
    ) -> tuple[HelperReply, int | None]:
        return executor.run(HelperRequest(call, tuple(places), tuple(args), **more), fds)

    return run


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of our own that sleeps, with a pipe for its standard input."""
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()
