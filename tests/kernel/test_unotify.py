"""seccomp_unotify(2) with a real stopped child."""

import errno
import fcntl
import os
import select
import signal
import socket
import time

import pytest

from notifyd.kernel import arch, seccomp, unotify
from notifyd.kernel.libc import syscall
from notifyd.kernel.unotify import RESPONSE_CONTINUE, Notifier

GETPPID = arch.native().numbers["getppid"]


def ask(*arguments):
    """Make the call that stops, with arguments it ignores; return its result, or minus errno."""
    try:
        return syscall(GETPPID, *arguments)
    except OSError as error:
        return -error.errno


def is_closed(fd):
    """Whether a number is no descriptor of ours."""
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def test_struct_sizes():
    """The structs and the sizes inside the ioctl numbers agree."""
    sizes = [unotify.NOTIF.size, unotify.RESPONSE.size, unotify.ADDFD.size]
    numbers = [unotify.IOCTL_RECV, unotify.IOCTL_SEND, unotify.IOCTL_ADDFD]
    assert sizes == [number >> 16 & 0x3FFF for number in numbers] == [80, 24, 24]


def test_notification_says_who_and_what(stopped):
    """A notification carries thread, call, entry and all six argument registers."""
    child = stopped(lambda: ask(1, 2, 3, 4, 5, 2**64 - 6) - 70)
    ident, pid, flags, nr, audit, ip, *args = child.notification()
    assert (pid, flags, nr, audit) == (child.pid, 0, GETPPID, arch.native().audit)
    assert ip
    assert args == [1, 2, 3, 4, 5, 2**64 - 6]
    assert child.notifier.respond(ident, 77, 0, 0)
    assert child.status() == 7


def test_error_answer(stopped):
    """A negative errno in the answer is the errno that the target gets."""
    child = stopped(lambda: -ask())
    assert child.notifier.respond(child.notification()[0], 0, -errno.EXDEV, 0)
    assert child.status() == errno.EXDEV


def test_continue_answer(stopped):
    """RESPONSE_CONTINUE lets the kernel do the call."""
    child = stopped(lambda: int(ask() == PARENT))
    assert child.notifier.respond(child.notification()[0], 0, 0, RESPONSE_CONTINUE)
    assert child.status() == 1


PARENT = os.getpid()


def test_continue_with_a_value_is_refused_by_the_kernel(stopped):
    """CONTINUE with a value is EINVAL, and the call still waits."""
    child = stopped(lambda: -ask())
    ident = child.notification()[0]
    with pytest.raises(OSError) as caught:
        child.notifier.respond(ident, 1, 0, RESPONSE_CONTINUE)
    assert caught.value.errno == errno.EINVAL
    assert child.notifier.respond(ident, 0, -3, 0)
    assert child.status() == 3


def test_second_answer_is_refused(stopped):
    """An id that has its answer is EINPROGRESS or gone, and is never answered anew."""
    child = stopped(lambda: -ask())
    ident = child.notification()[0]
    assert child.notifier.respond(ident, 0, -3, 0)
    try:
        again = child.notifier.respond(ident, 0, -4, 0)
    except OSError as error:
        again = error.errno
    assert again in (False, errno.EINPROGRESS)
    assert child.status() == 3


def test_target_gone(stopped):
    """After the target's death its id is not valid, and an answer or a descriptor finds nobody."""
    child = stopped(ask)
    ident = child.notification()[0]
    assert child.notifier.id_valid(ident)
    os.kill(child.pid, signal.SIGKILL)
    assert child.status() == -signal.SIGKILL
    assert not child.notifier.id_valid(ident)
    assert not child.notifier.respond(ident, 0, -1, 0)
    with pytest.raises(FileNotFoundError):
        child.notifier.add_fd(ident, 0, 0)
    ours = os.dup(0)
    with pytest.raises(FileNotFoundError):
        child.notifier.give_fd(ident, ours, 0)
    assert is_closed(ours)


def test_receive_after_death_is_not_found(stopped):
    """When no task has the filter any more, the listener hangs up and RECV is ENOENT."""
    child = stopped(ask)
    child.notification()
    os.kill(child.pid, signal.SIGKILL)
    child.status()
    poll = select.poll()
    poll.register(child.listener, select.POLLIN)
    assert poll.poll(20_000)[0][1] & select.POLLHUP
    with pytest.raises(FileNotFoundError):
        child.notifier.receive()


def test_id_valid_on_an_old_kernel(stopped):
    """When the number is unknown the older one is tried, and kept."""
    child = stopped(ask)
    ident = child.notification()[0]
    child.notifier._id_valid = 0x400821F2  # no such ioctl: what an old kernel makes of ours
    assert child.notifier.id_valid(ident)
    assert child.notifier._id_valid == unotify.IOCTL_ID_VALID_WRONG_DIRECTION
    assert not child.notifier.id_valid(ident + 1)


def test_no_listener_at_all():
    """A descriptor that is no listener is an error, not an endless search for ioctl numbers."""
    ours, theirs = os.pipe()
    try:
        with pytest.raises(OSError) as caught:
            Notifier(ours).id_valid(1)
        assert caught.value.errno == errno.ENOTTY
        assert not Notifier(ours).set_sync_wake_up()
    finally:
        os.close(ours)
        os.close(theirs)


def test_sync_wake_up(stopped):
    """This kernel knows SYNC_WAKE_UP, and answers go on working with it."""
    child = stopped(lambda: -ask())
    assert child.notifier.set_sync_wake_up()
    assert child.notifier.respond(child.notification()[0], 0, -5, 0)
    assert child.status() == 5


@pytest.fixture
def pair():
    """A connected pair of sockets, closed afterwards."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("cloexec", [False, True])
def test_add_fd_then_answer(stopped, pair, cloexec):
    """An added descriptor works in the target, and is close-on-exec only when asked."""
    ours, theirs = pair

    def work():
        fd = ask()
        os.write(fd, b"hello")
        return fcntl.fcntl(fd, fcntl.F_GETFD)

    child = stopped(work)
    ident = child.notification()[0]
    flags = os.O_CLOEXEC if cloexec else 0
    number = child.notifier.add_fd(ident, theirs.fileno(), flags)
    assert child.notifier.respond(ident, number, 0, 0)
    assert ours.recv(5) == b"hello"
    assert child.status() == cloexec


def test_given_is_given_away(stopped, pair):
    """The target's call returns the number and needs no other answer; ours is closed."""
    given = os.dup(pair[1].fileno())
    child = stopped(lambda: int(os.write(ask(), b"y") == 1))
    ident = child.notification()[0]
    assert child.notifier.give_fd(ident, given, os.O_CLOEXEC) > 2
    assert is_closed(given)
    assert child.status() == 1
    assert not child.notifier.respond(ident, 0, 0, 0)


def test_closed_before_the_answer(stopped, tmp_path):
    """What the target closes is closed: nobody else has it at that moment, however often."""
    rounds, path = 300, tmp_path / "lock"
    path.touch()

    def work():
        held = os.open(path, os.O_RDWR)
        for _ in range(rounds):
            fd = ask()
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.close(fd)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises
            fcntl.flock(held, fcntl.LOCK_UN)
        return 7

    child = stopped(work)
    for _ in range(rounds):
        ident = child.notification()[0]
        child.notifier.give_fd(ident, os.open(path, os.O_RDWR), 0)
    assert child.status() == 7


def test_no_flag_of_a_later_kernel(stopped, pair):
    """Linux 5.9 to 5.13 add descriptors, and know no flag for it. A wrapper stands in."""
    child = stopped(lambda: int(os.write(ask(), b"y") == 1))
    real, seen = child.notifier._ioctl, []

    def ioctl(fd, request, data, *more):
        if request == unotify.IOCTL_ADDFD:
            _, flags, *_ = unotify.ADDFD.unpack(data)
            seen.append(flags)
            if flags:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(fd, request, data, *more)

    child.notifier._ioctl = ioctl
    assert child.notifier.give_fd(child.notification()[0], os.dup(pair[1].fileno()), 0) > 2
    assert child.status() == 1
    assert seen == [0]


def descriptors():
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


def test_a_signal_between_the_two_steps(stopped, pair):
    """It ends the call, and the target has a descriptor of which it does not know."""

    def work():
        signal.signal(signal.SIGUSR1, lambda *_: None)
        before = descriptors()
        return -ask() + 100 * (descriptors() - before)

    child = stopped(work)
    ident = child.notification()[0]
    number = child.notifier.add_fd(ident, pair[1].fileno(), 0)
    os.kill(child.pid, signal.SIGUSR1)
    end = time.monotonic() + 20
    while child.notifier.id_valid(ident):
        assert time.monotonic() < end
    assert not child.notifier.respond(ident, number, 0, 0)
    assert child.status() == errno.EINTR + 100


def test_no_signal_between_the_two_steps(stopped, pair):
    """With WAIT_KILLABLE_RECV it waits until the call is answered."""
    came = []

    def work():
        signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
        fd = ask()
        return 10 * len(came) + (os.write(fd, b"y") if fd > 2 else 0)

    child = stopped(work, flags=seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV)
    ident = child.notification()[0]
    number = child.notifier.add_fd(ident, pair[1].fileno(), 0)
    os.kill(child.pid, signal.SIGUSR1)
    assert child.notifier.id_valid(ident)
    assert child.notifier.respond(ident, number, 0, 0)
    assert child.status() == 11


def test_shared_stays_open(stopped, pair):
    """What is shared is the target's as well, and still ours."""
    child = stopped(lambda: int(os.write(ask(), b"y") == 1))
    ident = child.notification()[0]
    assert child.notifier.share_fd(ident, pair[1].fileno(), 0) > 2
    assert child.status() == 1
    assert not is_closed(pair[1].fileno())


def test_add_fd_of_a_path_descriptor(stopped):
    """The kernel does not copy O_PATH descriptors, and the call still waits for its answer."""
    child = stopped(lambda: -ask())
    ident = child.notification()[0]
    fd = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            child.notifier.give_fd(ident, fd, 0)
        assert caught.value.errno == errno.EBADF
    finally:
        assert is_closed(fd)
    assert child.notifier.respond(ident, 0, -9, 0)
    assert child.status() == 9


def test_signals_never_spoil_an_added_descriptor(stopped, pair):
    """Under a rain of signals every call still gets its descriptor, and never 0 instead."""
    rounds = 400

    def work():
        for _ in range(rounds):
            fd = ask()
            if fd < 3:
                return 1
            os.close(fd)
        return 0

    child = stopped(work)
    hits = []
    previous = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    try:
        for _ in range(rounds):
            ident = child.notification()[0]
            signal.setitimer(signal.ITIMER_REAL, 0.00002)
            assert child.notifier.give_fd(ident, os.dup(pair[1].fileno()), 0) > 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert hits
    assert child.status() == 0
