"""How much of an argument register the kernel uses, on the entries of 64 bits and on i386's.

A register that is passed on as an int has 32 bits that count, and a hostile caller fills the others
with what it likes. From the prototypes of Linux 6.18 (SYSCALL_DEFINE), with what is cut further
in: the descriptors of readv(2) and mmap(2), the flags of clone(2), the thread of ptrace(2).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["width_of"]

# Each call with the registers of which 32 bits count, and behind a slash those of 16. All else
# counts whole: pointers, sizes, and the longs that few calls have.
_TABLE = """
accept:0 accept4:03 access:1 add_key:4 alarm:0 arch_prctl:0 bind:02 bpf:02 cachestat:03 chmod:/1
chown:12 clock_adjtime:0 clock_getres:0 clock_gettime:0 clock_nanosleep:01 clock_settime:0
clone:0 close:0 close_range:012 connect:02 copy_file_range:025 creat:/1 delete_module:1 dup:0
dup2:01 dup3:012 epoll_create:0 epoll_create1:0 epoll_ctl:012 epoll_pwait:023 epoll_pwait2:02
epoll_wait:023 eventfd:0 eventfd2:01 execveat:04 exit:0 exit_group:0 faccessat:02 faccessat2:023
fadvise64:03 fallocate:01 fanotify_init:01 fanotify_mark:013 fchdir:0 fchmod:0/1 fchmodat:0/2
fchmodat2:03/2 fchown:012 fchownat:0234 fcntl:01 fdatasync:0 fgetxattr:0 file_getattr:04
file_setattr:04 finit_module:02 flistxattr:0 flock:01 fremovexattr:0 fsconfig:014 fsetxattr:04
fsmount:012 fsopen:1 fspick:02 fstat:0 fstatfs:0 fsync:0 ftruncate:0 futex:125 futex_requeue:123
futex_wait:35 futex_waitv:124 futex_wake:23 futimesat:0 get_robust_list:0 getdents:02
getdents64:02 getgroups:0 getitimer:0 getpeername:0 getpgid:0 getpriority:01 getrandom:2
getrlimit:0 getrusage:0 getsid:0 getsockname:0 getsockopt:012 getxattrat:02 inotify_add_watch:02
inotify_init1:0 inotify_rm_watch:01 io_setup:0 io_uring_enter:0123 io_uring_register:013
io_uring_setup:0 ioctl:01 ioperm:2 iopl:0 ioprio_get:01 ioprio_set:012 kcmp:012
kexec_file_load:01 keyctl:0 kill:01 landlock_add_rule:013 landlock_create_ruleset:2
landlock_restrict_self:01 lchown:12 linkat:024 listen:01 listmount:3 listns:3 listxattrat:02
lseek:02 lsetxattr:4 lsm_get_self_attr:03 lsm_list_modules:2 lsm_set_self_attr:023 madvise:2
map_shadow_stack:2 mbind:5 membarrier:012 memfd_create:1 memfd_secret:0 migrate_pages:0 mkdir:/1
mkdirat:0/2 mknod:2/1 mknodat:03/2 mlock2:2 mlockall:0 mmap:4 modify_ldt:0 mount_setattr:02
move_mount:024 move_pages:05 mq_getsetattr:0 mq_notify:0 mq_open:1/2 mq_timedreceive:0
mq_timedsend:03 msgctl:01 msgget:01 msgrcv:04 msgsnd:03 msync:2 name_to_handle_at:04
newfstatat:03 open:1/2 open_by_handle_at:02 open_tree:02 open_tree_attr:02 openat:02/3 openat2:0
perf_event_open:123 personality:0 pidfd_getfd:012 pidfd_open:01 pidfd_send_signal:013 pipe2:1
pkey_free:0 pkey_mprotect:3 poll:12 ppoll:1 prctl:0 pread64:0 preadv:0 preadv2:05 prlimit64:01
process_madvise:034 process_mrelease:01 process_vm_readv:0 process_vm_writev:0 pselect6:0
ptrace:1 pwrite64:0 pwritev:0 pwritev2:05 quotactl:02 quotactl_fd:012 read:0 readahead:0
readlink:2 readlinkat:03 readv:0 reboot:012 recvfrom:03 recvmmsg:023 recvmsg:02 removexattrat:02
renameat:02 renameat2:024 request_key:3 rseq:123 rt_sigaction:0 rt_sigprocmask:0
rt_sigqueueinfo:01 rt_tgsigqueueinfo:012 sched_get_priority_max:0 sched_get_priority_min:0
sched_getaffinity:01 sched_getattr:023 sched_getparam:0 sched_getscheduler:0
sched_rr_get_interval:0 sched_setaffinity:01 sched_setattr:02 sched_setparam:0
sched_setscheduler:01 seccomp:01 select:0 semctl:012 semget:012 semop:02 semtimedop:02
sendfile:01 sendfile64:01 sendmmsg:023 sendmsg:02 sendto:035 set_mempolicy:0 setdomainname:1
setfsgid:0 setfsuid:0 setgid:0 setgroups:0 sethostname:1 setitimer:0 setns:01 setpgid:01
setpriority:012 setregid:01 setresgid:012 setresuid:012 setreuid:01 setrlimit:0 setsockopt:0124
setuid:0 setxattr:4 setxattrat:02 shmat:02 shmctl:01 shmget:02 shutdown:01 signalfd:0
signalfd4:03 socket:012 socketpair:012 splice:025 statmount:3 statx:023 swapon:1 symlinkat:1
sync_file_range:03 syncfs:0 sysfs:0 syslog:02 tee:013 tgkill:012 timer_create:0 timer_delete:0
timer_getoverrun:0 timer_gettime:0 timer_settime:01 timerfd_create:01 timerfd_gettime:0
timerfd_settime:01 tkill:01 umask:0 umount2:1 unlinkat:02 userfaultfd:0 ustat:0 utimensat:03
vmsplice:03 wait4:02 waitid:013 write:0 writev:0
"""

# The oldest calls for ids of i386, where an id has 16 bits.
_I386 = """
chown:/12 fchown:0/12 lchown:/12 setfsgid:/0 setfsuid:/0 setgid:/0 setregid:/01 setresgid:/012
setresuid:/012 setreuid:/01 setuid:/0
"""


def _parse(table: str) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for item in table.split():
        name, _, registers = item.partition(":")
        words, _, halves = registers.partition("/")
        found[name] = {int(at): 32 for at in words} | {int(at): 16 for at in halves}
    return found


_WIDTHS: Mapping[str, Mapping[int, int]] = _parse(_TABLE)
_I386_WIDTHS: Mapping[str, Mapping[int, int]] = {**_WIDTHS, **_parse(_I386)}


def width_of(arch: str, syscall: str, register: int) -> int:
    """How many of the low bits of an argument register a call uses: 16, 32 or 64.

    Args:
        arch: the name of the entry.
        syscall: the call's name. One that is not known here uses all bits.
        register: 0 to 5.
    """
    widths, most = (_I386_WIDTHS, 32) if arch == "i386" else (_WIDTHS, 64)
    return min(widths.get(syscall, {}).get(register, most), most)
