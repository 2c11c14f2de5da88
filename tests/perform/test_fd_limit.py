"""Room for a descriptor: held against what the kernel says to the process itself."""

import errno
import os
import resource

import pytest

from notifyd.perform.fd_limit import SPARE, is_full, keep_spare

NUMBERS = [(), (3,), (40, 41), (3, 40), (3, 4, 5, 40)]
LIMITS = [0, 1, 3, 4, 5, 6, 40, 41, 1000, -1]


def kernel_says(numbers: tuple[int, ...], limit: int) -> tuple[bool, bool]:
    """Whether a child with just those descriptors more than 0, 1 and 2 is full: natively, ours."""
    told, tell = os.pipe()
    done, go = os.pipe()
    child = os.fork()
    if child == 0:
        _child(numbers, limit, tell, done)
    os.close(tell)
    os.close(done)
    native = os.read(told, 1) == b"y"
    directory = os.open(f"/proc/{child}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return native, is_full(directory, limit)
    finally:
        os.close(directory)
        os.close(told)
        os.close(go)
        os.waitpid(child, 0)


def _child(numbers: tuple[int, ...], limit: int, tell: int, done: int) -> None:
    """Say over number 1 whether there is room, and wait at number 0."""
    os.dup2(done, 0)
    os.dup2(tell, 1)
    os.closerange(3, 4096)
    for number in numbers:
        os.dup2(2, number)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = hard if limit < 0 else limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        os.close(os.dup(2))
        os.write(1, b"n")
    except OSError:
        os.write(1, b"y")
    os.read(0, 1)
    os._exit(0)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_room_is_what_the_kernel_finds(numbers: tuple[int, ...], limit: int) -> None:
    """A limit that was lowered counts numbers, and not how many there are."""
    native, ours = kernel_says(numbers, limit)
    assert ours == native


def test_waiting_calls_leave_some_of_ours():
    """With a limit that has just the spare ones above, the next descriptor is one too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fits, refused = os.dup(2), os.dup(2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fits + 1 + SPARE, hard))
    try:
        keep_spare(fits)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)) as raised:
            keep_spare(refused)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(fits)
        os.close(refused)
    assert raised.value.errno == errno.EMFILE
