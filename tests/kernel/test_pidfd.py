"""pidfds of children and of threads."""

import errno
import fcntl
import os
import select
import signal
import threading

import pytest

from notifyd.kernel import pidfd


@pytest.fixture
def child():
    """A child that waits for signals; killed and reaped if it is still there."""
    pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


@pytest.fixture
def thread():
    """A waiting thread of ours, as its id."""
    stop, ids, ready = threading.Event(), [], threading.Event()

    def run():
        ids.append(threading.get_native_id())
        ready.set()
        stop.wait()

    worker = threading.Thread(target=run)
    worker.start()
    ready.wait()
    yield ids[0]
    stop.set()
    worker.join()


@pytest.fixture
def opened():
    """Keep descriptors to be closed after the test: `opened(fd)` returns it."""
    fds = []

    def keep(fd):
        fds.append(fd)
        return fd

    yield keep
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("opener", [pidfd.open_process, pidfd.open_thread])
def test_alive_until_dead(child, opened, opener):
    """A task is alive until it ended, whether or not somebody has waited for it."""
    fd = opened(opener(child))
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert pidfd.alive(fd)
    pidfd.send_signal(fd, signal.SIGKILL)
    assert select.select([fd], [], [], 20)[0]
    assert not pidfd.alive(fd)
    os.waitpid(child, 0)
    assert not pidfd.alive(fd)
    with pytest.raises(ProcessLookupError):
        pidfd.send_signal(fd, 0)


def test_thread_needs_open_thread(thread, opened):
    """A thread that leads no process can be opened as a thread only."""
    with pytest.raises(OSError):
        pidfd.open_process(thread)
    assert pidfd.alive(opened(pidfd.open_thread(thread)))


def test_thread_that_ended(opened):
    """The pidfd of a thread tells its end, though the process goes on."""
    stop, ids = threading.Event(), []
    ready = threading.Event()

    def run():
        ids.append(threading.get_native_id())
        ready.set()
        stop.wait()

    worker = threading.Thread(target=run)
    worker.start()
    ready.wait()
    fd = opened(pidfd.open_thread(ids[0]))
    assert pidfd.alive(fd)
    stop.set()
    assert select.select([fd], [], [], 20)[0]
    worker.join()
    assert not pidfd.alive(fd)


def test_old_kernel_opens_leaders(monkeypatch, child, thread, opened):
    """Where PIDFD_THREAD is unknown a leader is opened as its process, and no other thread is."""
    real = os.pidfd_open

    def old(pid, flags=0):
        if flags:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(pid)

    monkeypatch.setattr(os, "pidfd_open", old)
    assert pidfd.alive(opened(pidfd.open_thread(child)))
    with pytest.raises(OSError):
        pidfd.open_thread(thread)


def test_signal_to_the_group(child, opened):
    """A signal for the whole process goes through the pidfd of a thread."""
    fd = opened(pidfd.open_thread(child))
    pidfd.send_signal(fd, signal.SIGTERM, group=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_signal_to_the_group_on_an_old_kernel(monkeypatch, child, opened):
    """Where the flag is unknown the signal is sent without: every pidfd is a process there."""
    real = signal.pidfd_send_signal

    def old(fd, sig, info=None, flags=0):
        if flags:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(fd, sig)

    monkeypatch.setattr(signal, "pidfd_send_signal", old)
    pidfd.send_signal(opened(pidfd.open_process(child)), signal.SIGTERM, group=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_get_fd(opened):
    """A copied descriptor is the same open file, and close-on-exec."""
    ours, theirs = os.pipe()
    opened(ours)
    pid = os.fork()
    if not pid:
        signal.pause()
    os.close(theirs)
    fd = opened(pidfd.open_process(pid))
    copy = opened(pidfd.get_fd(fd, theirs))
    assert fcntl.fcntl(copy, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.write(copy, b"through")
    assert os.read(ours, 7) == b"through"
    with pytest.raises(OSError) as caught:
        pidfd.get_fd(fd, 999)
    assert caught.value.errno == errno.EBADF
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        pidfd.get_fd(fd, theirs)


def test_nobody():
    """A pid that is nobody's is ESRCH."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    for opener in (pidfd.open_process, pidfd.open_thread):
        with pytest.raises(ProcessLookupError):
            opener(pid)
