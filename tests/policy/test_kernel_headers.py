"""No system call of the newest kernel headers is unknown to us, and none goes by unreviewed.

A call that no operation names is one that rules about operations never see. So every call of the
headers is in our tables of numbers, and in an operation or in the list below, which says why it
needs none. When this fails, the kernel has got a call: put it in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from notifyd.kernel.arch import ARCHES, entries, native
from notifyd.policy.call import Raw
from notifyd.policy.groups import BYPASSES
from notifyd.policy.operations import OPERATIONS

# What was looked at, and why no operation needs it. `Raw` takes any of them.
REVIEWED: Mapping[str, str] = {
    "works on a descriptor that is open: whatever opened it was asked about": """
        read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close
        close_range dup dup2 dup3 flock fsync fdatasync sync_file_range fadvise64
        fadvise64_64 fallocate readahead cachestat getdents getdents64 readdir sendfile sendfile64
        splice tee vmsplice copy_file_range""",
    "works on a descriptor that is open; by F_SETOWN the kernel signals whom kill(2) could": """
        fcntl fcntl64""",
    "works on a socket that is there: whatever made and connected it was asked about": """
        getsockname getpeername getsockopt shutdown recvfrom recvmsg recvmmsg recvmmsg_time64""",
    "queues work on descriptors that are open, and opens none: aio(7)": """
        io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
        io_pgetevents_time64""",
    "waits": """
        select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create
        epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 epoll_ctl_old epoll_wait_old
        pause nanosleep clock_nanosleep clock_nanosleep_time64 sched_yield rseq_slice_yield
        restart_syscall""",
    "makes a descriptor that leads to nobody else: a pipe, a counter, a timer, signals": """
        pipe pipe2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime
        timerfd_settime64 timerfd_gettime timerfd_gettime64""",
    "tells what happens to files below a path, and opens none; only-below refuses it": """
        inotify_init inotify_init1 inotify_add_watch inotify_rm_watch""",
    "passes rules about paths; refused with the others in BYPASSES, as a bare call": """
        fanotify_init file_setattr uselib""",
    "comes to nothing without fanotify_init": "fanotify_mark",
    "tells flags of a file by its path; only-below refuses it": "file_getattr",
    "tells mounts and namespaces; only-below refuses the first two": "statmount listmount listns",
    "tells of a file system by its number": "ustat sysfs",
    "tells where one is": "getcwd",
    "one's own memory": """
        mmap mmap2 munmap mremap mprotect brk msync mlock mlock2 munlock mlockall munlockall mincore
        madvise remap_file_pages pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack
        membarrier""",
    "where memory lies; about another process only with the right to trace it": """
        mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages move_pages""",
    "gives back the memory of a process that is being killed already": "process_mrelease",
    "one's own threads and their waiting": """
        futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue set_robust_list
        get_robust_list set_tid_address rseq set_thread_area get_thread_area arch_prctl
        modify_ldt vm86 vm86old""",
    "one's own signals": """
        rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigtimedwait_time64
        rt_sigsuspend rt_sigreturn sigaltstack sigaction signal sigprocmask sigpending sigsuspend
        sigreturn sgetmask ssetmask""",
    "one's own timers, which signal oneself": """
        alarm getitimer setitimer timer_create timer_settime timer_settime64 timer_gettime
        timer_gettime64 timer_getoverrun timer_delete""",
    "ends oneself, or waits for one's children": "exit exit_group wait4 waitid waitpid",
    "who one is, told": """
        getpid getppid gettid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32
        getresuid getresuid32 getresgid getresgid32 getgroups getgroups32 capget getpgid getpgrp
        getsid""",
    "sessions and process groups of oneself and one's children": "setpgid setsid",
    "what is kept for oneself, told": """
        getrlimit ugetrlimit getrusage times getcpu getpriority ioprio_get sched_getscheduler
        sched_getparam sched_getattr sched_getaffinity sched_rr_get_interval
        sched_rr_get_interval_time64 sched_get_priority_max sched_get_priority_min""",
    "how fine a clock is": "clock_getres clock_getres_time64",
    "weights of a process of the same user; more of it needs CAP_SYS_NICE": """
        nice setpriority ioprio_set sched_setaffinity""",
    "bits that new files do not get": "umask",
    "whether two processes share something; needs the right to trace both": "kcmp",
    "labels of oneself, by the security module's own leave": """
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules""",
    "SysV IPC: reaches who is in the same IPC namespace, by numbers and not by paths": """
        shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget msgsnd
        msgrcv msgctl ipc""",
    "works on a POSIX message queue that is open": """
        mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64
        mq_notify mq_getsetattr""",
    "writes out what is to be written": "sync syncfs bdflush",
    "hangs up the terminal that one has; needs CAP_SYS_TTY_CONFIG": "vhangup",
    "for the kernel's own trampolines; SIGILL, or an error, for everybody else": """
        uprobe uretprobe""",
    "needs CAP_SYS_ADMIN, and is gone since Linux 6.7": "lookup_dcookie",
    "not there any more, or never was: ENOSYS": """
        _sysctl afs_syscall break create_module ftime get_kernel_syms getpmsg gtty idle lock mpx
        nfsservctl prof profil putpmsg query_module security stty tuxcall ulimit vserver""",
}

HEADERS = {
    "x86_64": ("x86-linux-any/asm/unistd_64.h", "x86_64-linux-gnu/asm/unistd_64.h"),
    "i386": ("x86-linux-any/asm/unistd_32.h", "x86_64-linux-gnu/asm/unistd_32.h"),
    "aarch64": ("aarch64-linux-any/asm/unistd_64.h", "aarch64-linux-gnu/asm/unistd_64.h"),
}
DEFINED = re.compile(r"^#define\s+__NR_(\w+)\s+(\d+)\s*$", re.MULTILINE)


def numbers_of(header: Path) -> dict[str, int]:
    """The calls that a header defines."""
    found = {name: int(number) for name, number in DEFINED.findall(header.read_text())}
    assert len(found) > 300, header
    return found


def newest() -> Iterator[tuple[str, dict[str, int]]]:
    """Architecture and calls of the headers that the package `ziglang` brings along."""
    spec = find_spec("ziglang")
    assert spec is not None, "the headers are not installed: pip install -e '.[test]'"
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "lib" / "libc" / "include"
    for arch, (header, _) in HEADERS.items():
        yield arch, numbers_of(folder / header)


def reviewed() -> dict[str, str]:
    """Reason by call."""
    return {name: reason for reason, names in REVIEWED.items() for name in names.split()}


def named() -> set[str]:
    """The calls that operations are about."""
    return {variant.syscall for one in OPERATIONS.values() for variant in one.variants}


def unknown(calls: Iterable[str]) -> list[str]:
    """Those that neither an operation nor the review knows."""
    return sorted(set(calls) - named() - set(reviewed()))


@pytest.mark.parametrize("arch", HEADERS)
def test_every_call_has_its_number(arch):
    """Our table of an entry is that of the newest headers."""
    ours = next(one.numbers for one in ARCHES.values() if one.name == arch)
    theirs = dict(newest())[arch]
    assert {name: ours.get(name) for name in theirs} == theirs


@pytest.mark.parametrize("arch", HEADERS)
def test_every_call_is_known(arch):
    """An operation names it, or somebody looked at it and said why not."""
    assert unknown(dict(newest())[arch]) == []


@pytest.mark.parametrize("arch", entries(native()), ids=lambda arch: arch.name)
def test_the_headers_of_this_machine(arch):
    """Those of the C library's package, which may be of another age."""
    header = Path("/usr/include") / HEADERS[arch.name][1]
    if not header.exists():
        pytest.skip(f"no kernel headers for {arch.name} here")
    theirs = numbers_of(header)
    assert {name: arch.numbers.get(name) for name in theirs} == theirs
    assert unknown(theirs) == []


def test_a_new_call_is_found():
    """The test that would find it finds one that is made up."""
    assert unknown(["openat", "read", "openat3"]) == ["openat3"]


def test_our_own_tables_are_reviewed():
    """Also calls that the headers have not got: those of a kernel that was newer once."""
    assert unknown(name for arch in ARCHES.values() for name in arch.numbers) == []


def test_the_review_is_up_to_date():
    """A call is reviewed once; it exists; and no operation has taken it since."""
    names = [name for text in REVIEWED.values() for name in text.split()]
    assert len(names) == len(set(names))
    assert set(names) - {name for arch in ARCHES.values() for name in arch.numbers} == set()
    assert set(names) & named() == set()


def test_what_is_said_to_be_refused_is():
    """The group that rules refuse has the calls that the review leaves to it."""
    bare = {name for one in BYPASSES if isinstance(one, Raw) for name in one.syscalls}
    (left,) = (text.split() for reason, text in REVIEWED.items() if "BYPASSES" in reason)
    assert set(left) == bare - named()
