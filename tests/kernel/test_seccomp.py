"""seccomp(2) on the running kernel."""

import errno
import fcntl
import os
import struct
import threading
from pathlib import Path

import pytest

from notifyd.kernel import arch, prctl, seccomp, unotify
from notifyd.kernel.libc import syscall

ALLOW = bytes.fromhex("060000000000ff7f")  # one instruction: return RET_ALLOW


def test_sizes():
    """The kernel's structs are as large as ours."""
    assert seccomp.notif_sizes() == (80, 24, 64)
    assert seccomp.check_notif_sizes() is None


def test_other_sizes_are_refused_in_words(monkeypatch):
    """A kernel with larger structs is refused by a text that names both sizes."""
    monkeypatch.setattr(seccomp, "notif_sizes", lambda: (88, 24, 64))
    with pytest.raises(OSError, match=r"88.*80") as caught:
        seccomp.check_notif_sizes()
    assert caught.value.errno == errno.EINVAL


def test_no_user_notification_is_refused_in_words(monkeypatch):
    """A kernel without user notification is ENOSYS, and the text says which has it."""

    def refuse():
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(seccomp, "notif_sizes", refuse)
    with pytest.raises(OSError, match=r"Linux 5\.0") as caught:
        seccomp.check_notif_sizes()
    assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize(
    "action",
    [
        seccomp.RET_KILL_PROCESS,
        seccomp.RET_KILL_THREAD,
        seccomp.RET_TRAP,
        seccomp.RET_ERRNO,
        seccomp.RET_USER_NOTIF,
        seccomp.RET_TRACE,
        seccomp.RET_LOG,
        seccomp.RET_ALLOW,
    ],
)
def test_actions(action):
    """Every action that we have a name for is known to the kernel."""
    assert seccomp.action_available(action)


def test_unknown_action():
    """A number that is no action is said to be none."""
    assert not seccomp.action_available(0x12340000)


@pytest.mark.parametrize("flag", [1, 2, 4, 8, 16, 32])
def test_flags(flag):
    """Every flag that we have a name for is known to this kernel."""
    assert seccomp.filter_flag_supported(flag)


def test_unknown_flag():
    """A bit that is no flag is said to be none."""
    assert not seccomp.filter_flag_supported(1 << 20)


@pytest.mark.parametrize("program", [b"", bytes(7), bytes(8 * 4097)])
def test_no_program(program):
    """Bytes that cannot be a program never reach the kernel."""
    with pytest.raises(OSError, match="no BPF program") as caught:
        seccomp.install(program, 0)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.root
def test_invalid_program_is_the_kernels_einval():
    """The kernel's own checker refuses a program that does not end in a return."""
    with pytest.raises(OSError) as caught:
        seccomp.install(bytes(8), 0)
    assert caught.value.errno == errno.EINVAL


def in_child(work):
    """Run work() in a child with no_new_privs; return the status it exits with."""
    pid = os.fork()
    if not pid:
        status = 99
        try:
            prctl.set_no_new_privs()
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_listener_is_close_on_exec():
    """The listener that install returns would not reach what its process executes."""

    def work():
        listener = seccomp.install(ALLOW, seccomp.FILTER_FLAG_NEW_LISTENER)
        return fcntl.fcntl(listener, fcntl.F_GETFD)

    assert in_child(work) == fcntl.FD_CLOEXEC


def test_second_listener_is_busy(stopped):
    """A task whose filters already have a listener gets EBUSY for another."""

    def work():
        try:
            seccomp.install(ALLOW, seccomp.FILTER_FLAG_NEW_LISTENER)
        except OSError as error:
            return error.errno
        return 0

    assert stopped(work).status() == errno.EBUSY


def test_install_without_listener_returns_zero(program_for):
    """A filter without a listener is in force at once, and install returns 0."""
    refuse = program_for("getppid", action=seccomp.RET_ERRNO | errno.EXDEV)

    def work():
        result = seccomp.install(refuse, 0)
        try:
            syscall(arch.native().numbers["getppid"])
        except OSError as error:
            return error.errno + result
        return 0

    assert in_child(work) == errno.EXDEV


def test_thread_sync_takes_other_threads_along(program_for):
    """With TSYNC a thread that was there before is under the filter too."""
    refuse = program_for("getppid", action=seccomp.RET_ERRNO | errno.EXDEV)
    flags = seccomp.FILTER_FLAG_TSYNC

    def work():
        go, seen = threading.Event(), []

        def other():
            go.wait()
            try:
                syscall(arch.native().numbers["getppid"])
            except OSError as error:
                seen.append(error.errno)

        thread = threading.Thread(target=other)
        thread.start()
        seccomp.install(refuse, flags)
        go.set()
        thread.join()
        return seen[0]

    assert in_child(work) == errno.EXDEV


def test_thread_in_the_way_of_sync():
    """A thread with a filter of its own makes TSYNC fail: ESRCH, and nothing is installed."""

    def work():
        ready, stop = threading.Event(), threading.Event()

        def other():
            seccomp.install(ALLOW, 0)
            ready.set()
            stop.wait()

        thread = threading.Thread(target=other)
        thread.start()
        ready.wait()
        try:
            seccomp.install(ALLOW, seccomp.FILTER_FLAG_TSYNC)
        except OSError as error:
            return error.errno
        finally:
            stop.set()
            thread.join()
        return 0

    assert in_child(work) == errno.ESRCH


@pytest.mark.root
def test_without_privileges_install_is_refused():
    """Without no_new_privs and CAP_SYS_ADMIN the kernel says EACCES."""
    pid = os.fork()
    if not pid:
        status = 99
        try:
            os.setresuid(65534, 65534, 65534)
            seccomp.install(ALLOW, 0)
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.EACCES


def test_what_is_a_listener(stopped):
    """Told by what /proc shows; a number that is not open is none."""
    child = stopped(lambda: syscall(arch.native().numbers["getppid"]))
    assert seccomp.is_listener(child.listener)
    assert not seccomp.is_listener(0)
    assert not seccomp.is_listener(1 << 20)


def test_descriptors_can_be_given():
    """On this kernel; whoever asks is under no filter afterwards."""
    assert seccomp.can_give_fds()
    assert "Seccomp:\t0\n" in Path("/proc/thread-self/status").read_text()


def test_descriptors_cannot_be_given(in_child):
    """On a kernel that does not know the request: a filter that answers EINVAL stands in for it."""

    def work():
        prctl.set_no_new_privs()
        rows = [
            (0x20, 0, 0, 0),  # load the number
            (0x15, 0, 3, arch.native().numbers["ioctl"]),
            (0x20, 0, 0, 24),  # load the request
            (0x15, 0, 1, unotify.IOCTL_ADDFD),
            (0x06, 0, 0, seccomp.RET_ERRNO | errno.EINVAL),
            (0x06, 0, 0, seccomp.RET_ALLOW),
        ]
        seccomp.install(b"".join(struct.pack("=HBBI", *row) for row in rows), 0)
        return int(seccomp.can_give_fds())

    assert in_child(work) == 0
