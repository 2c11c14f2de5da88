"""What exploits need is refused in the kernel; what programs need goes on."""

import errno
import json

import pytest

from notifyd import (
    Allow,
    Bpf,
    Clone,
    Deny,
    Ioctl,
    IoUring,
    Keyctl,
    Mount,
    Ptrace,
    Setns,
    Unshare,
    UserfaultFd,
)
from notifyd.kernel.arch import native
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["no-privilege-escalation"]
REFUSED = Deny(errno.EPERM)
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWTIME, CLONE_FILES = 0x10000000, 0x20000, 0x80, 0x400
TIOCSTI, USERFAULTFD_IOC_NEW = 0x5412, 0xAA00

# Each would succeed, or fail with another errno, without the rule.
PROBES = {
    "ptrace": (0,),
    "process_vm_readv": (1,),
    "io_uring_setup": (1, 0),
    "keyctl": (0, -3, 1),
    "add_key": (0, 0, 0, 0, -3),
    "userfaultfd": (0,),
    "perf_event_open": (0, 0, -1, -1, 0),
    "bpf": (0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "init_module": (0, 0, 0),
    "finit_module": (-1, 0, 0),
    "kexec_load": (0, 0, 0, 0),
    "swapoff": (0,),
    "syslog": (10, 0, 0),
    "open_by_handle_at": (-1, 0, 0),
    "setns": (-1, 0),
    "mount": (0, 0, 0, 0, 0),
    "fsopen": (0, 0),
    "umount2": (0, 0),
    "pivot_root": (0, 0),
    "chroot": (0,),
    "unshare": (CLONE_NEWUSER,),
    "clone": (CLONE_NEWNS | 17, 0, 0, 0, 0),
    "ioctl": (0, 1 << 32 | TIOCSTI, 0),
    "ioctl of userfaultfd": (0, USERFAULTFD_IOC_NEW, 0),
}


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Ptrace, {}),
        (Keyctl, {}),
        (UserfaultFd, {}),
        (Bpf, {}),
        (IoUring, {}),
        (Setns, {}),
        (Mount, {}),
        (Unshare, {"flags": CLONE_NEWUSER}),
        (Unshare, {"flags": CLONE_NEWTIME}),
        (Unshare, {"flags": CLONE_FILES | CLONE_NEWNS}),
        (Clone, {"flags": CLONE_NEWUSER | 17, "syscall": "clone"}),
        (Ioctl, {"request": TIOCSTI}),
        (Ioctl, {"request": USERFAULTFD_IOC_NEW}),
    ],
)
def test_it_is_refused(operation, fields):
    """Every one of them gets EPERM."""
    assert verdict_of(load_rules(*RULES), make_call(operation, **fields)) == REFUSED


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Unshare, {"flags": CLONE_FILES}),
        (Clone, {"flags": 17, "syscall": "clone"}),
        (Clone, {"flags": 0x80, "syscall": "clone"}),
        (Ioctl, {"request": 0x5401}),
    ],
)
def test_what_programs_do_is_free(operation, fields):
    """Threads, forks and harmless requests are none of the rule's business."""
    assert verdict_of(load_rules(*RULES), make_call(operation, **fields)) == Allow()


def test_clone3_is_not_there():
    """Its flags cannot be seen, so C libraries are told to use clone."""
    assert verdict_of(load_rules(*RULES), make_call(Clone, syscall="clone3")) == Deny(errno.ENOSYS)


def test_a_program_gets_eperm_from_the_kernel(python):
    """On the real kernel, and none of it is notified."""
    calls = {name: [native().numbers[name.split()[0]], *args] for name, args in PROBES.items()}
    ran = python(
        RULES,
        """
        for name, (number, *args) in json.loads(sys.argv[1]).items():
            attempt(name, syscall, number, *args)
        """,
        json.dumps(calls),
    )
    assert ran.found == dict.fromkeys(PROBES, "EPERM")
    assert ran.calls == []
    assert ran.status == 0


def test_threads_and_processes_still_start(python):
    """Threads, fork, spawn, and clone3's absence, which the C library gets over."""
    ran = python(
        RULES,
        """
        import subprocess, threading
        thread = threading.Thread(target=attempt, args=("thread", str))
        thread.start()
        thread.join()
        attempt("spawn", lambda: subprocess.run(["true"]).returncode)
        pid = os.fork()
        if not pid:
            os._exit(5)
        attempt("fork", lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        attempt("clone3", syscall, int(sys.argv[1]), 0, 0)
        attempt("files", syscall, int(sys.argv[2]), 0x400)
        """,
        str(native().numbers["clone3"]),
        str(native().numbers["unshare"]),
    )
    assert ran.found == {"thread": "", "spawn": 0, "fork": 5, "clone3": "ENOSYS", "files": 0}
