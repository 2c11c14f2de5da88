"""Signals from a descriptor."""

import errno
import fcntl
import os
import signal

import pytest

from notifyd.kernel.signalfd import SI_KERNEL, SignalFd

SET = {signal.SIGUSR1, signal.SIGUSR2}


# A signal for a process is sent in a child: here another thread, trio's say, would be killed by it.


def test_signals_are_read_with_their_sender(in_child):
    """A signal is read with its number, code and the sender's pid; then nothing is left."""

    def work():
        with SignalFd(SET) as fd:
            seen = [fd.read()]
            os.kill(os.getpid(), signal.SIGUSR1)
            seen += [fd.read(), fd.read()]
        return int(seen == [[], [(signal.SIGUSR1, 0, os.getpid())], []])

    assert in_child(work) == 1


def test_several_at_once(in_child):
    """Different signals that wait are read together."""

    def work():
        with SignalFd(SET) as fd:
            for number in SET:
                os.kill(os.getpid(), number)
            return int({number for number, _, _ in fd.read()} == SET)

    assert in_child(work) == 1


def test_the_terminal_is_the_kernel():
    """A key pressed at a terminal comes from the kernel, not from a process."""
    main, pty = os.openpty()
    pid = os.fork()
    if not pid:
        status = 99
        try:
            os.setsid()
            fcntl.ioctl(pty, 0x540E, 0)  # TIOCSCTTY
            with SignalFd({signal.SIGINT}) as fd:
                os.write(main, b"\x03")
                os.set_blocking(fd.fileno(), True)
                [(_, code, sender)] = fd.read()
            status = int(code == SI_KERNEL and sender == 0)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    os.close(main)
    os.close(pty)


def test_descriptor():
    """The descriptor is close-on-exec and does not wait; closing twice is harmless."""
    fd = SignalFd(SET)
    assert fcntl.fcntl(fd.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert not os.get_blocking(fd.fileno())
    fd.close()
    fd.close()
    assert fd.fileno() == -1


def test_mask_is_restored():
    """After closing the mask is as it was, with signals that were blocked before still blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        with SignalFd(SET):
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= SET
        after = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert after == before | {signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_mask_is_restored_when_there_is_no_descriptor_left(monkeypatch):
    """A failing signalfd leaves the mask as it was."""
    from notifyd.kernel import signalfd

    def full(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(signalfd, "syscall", full)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(OSError):
        SignalFd(SET)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_unread_signals_are_delivered_afterwards(in_child):
    """A signal that was not read takes its ordinary way after closing."""

    def work():
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        with SignalFd(SET):
            os.kill(os.getpid(), signal.SIGUSR1)
            before = len(seen)
        return before * 10 + len(seen)

    assert in_child(work) == 1
