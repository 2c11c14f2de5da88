"""The machine: mounts, its names, and how a program is scheduled."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from calltable.language import packed

# -- mounts

PRIVATE = "!mount s@ s@ 0 MS_BIND 0; !mount 0 s@ 0 MS_PRIVATE|MS_REC 0; !chdir s@; "
SPACES = {
    "none": "",
    "root": "!unshare CLONE_NEWNS; " + PRIVATE,
    "user": "!unshare CLONE_NEWUSER|CLONE_NEWNS; " + PRIVATE,
    "both": "!unshare CLONE_NEWNS; !unshare CLONE_NEWUSER; ",
}
SETUPS = [
    "",
    "!mount snone sempty stmpfs 0 smode=711; ",
    "!mount sdir sempty 0 MS_BIND 0; !mount snone sempty/sub stmpfs 0 0; ",
    "!mount sfile sro 0 MS_BIND 0; ",
    "!mount snone sempty stmpfs 0 0; !openat AT_FDCWD sempty O_RDONLY =9; ",
    "!chroot s.; ",
]
# The effect: what is where, with which flags, and whether it can be written to.
SEEN = (
    "; !lstat sempty ostat; !lstat sempty/sub ostat; !statfs sempty ostatfs; !lstat sro ostat; "
    "!lstat sdir/sub ostat; !statfs s. ostatfs; !openat AT_FDCWD sempty/new O_CREAT|O_RDWR 0644 :fd"
)
PEERS = (
    "; !mount s@/dir s@/rodir 0 MS_BIND|MS_REC 0; !mount snone s@/dir/sub stmpfs 0 smode=701; "
    "!lstat srodir/sub ostat; !umount2 s@/rodir/sub 0; !lstat sdir/sub ostat"
)
MOUNTS = (
    """
mount sdir sempty 0 MS_BIND 0
mount sldir sempty 0 MS_BIND 0
mount sldir sempty 0 MS_MGC_VAL|MS_BIND 0
mount sldir sempty 0 MS_MGC_VAL|MS_MOVE 0
mount sempty sldir 0 MS_MGC_VAL|MS_MOVE 0
mount sempty/sub sldir 0 MS_MGC_VAL|MS_MOVE 0
mount snone sempty stmpfs MS_MGC_VAL|MS_RDONLY smode=700
mount snone sempty stmpfs MS_MGC_VAL|MS_SHARED smode=700
mount snone sempty s%FF.%FF 0 0
mount sdir sldir 0 MS_BIND 0
mount s@/dir sempty/ snone MS_BIND|MS_REC sjunk
mount sdir sdir/sub 0 MS_BIND|MS_REC 0
mount sfile sro 0 MS_BIND 0
mount sfile slfile 0 MS_BIND 0
mount slfile sro 0 MS_BIND|MS_RDONLY 0
mount sfile sempty 0 MS_BIND 0
mount sdir sfile 0 MS_BIND 0
mount sfifo snull 0 MS_BIND 0
mount snull sfile 0 MS_BIND 0
mount ssock sfile 0 MS_BIND 0
mount s/dev/null sfile 0 MS_BIND 0
mount s/proc/self/cwd/dir sempty 0 MS_BIND 0
mount sdir s/proc/self/cwd/empty 0 MS_BIND 0
mount smissing sempty 0 MS_BIND 0
mount sdir smissing 0 MS_BIND 0
mount sdir sdangling 0 MS_BIND 0
mount sdangling sempty 0 MS_BIND 0
mount sloop sempty 0 MS_BIND 0
mount sfile/x sempty 0 MS_BIND 0
mount sfile/ sro 0 MS_BIND 0
mount sclosed/inner sro 0 MS_BIND 0
mount sclosed sempty 0 MS_BIND 0
mount snoperm sempty 0 MS_BIND 0
mount s sempty 0 MS_BIND 0
mount sdir s 0 MS_BIND 0
mount 0 sempty 0 MS_BIND 0
mount u sempty 0 MS_BIND 0
mount e sempty 0 MS_BIND 0
mount sdir u 0 MS_BIND 0
mount sdir 0 0 MS_BIND 0
mount sdir sempty u MS_BIND 0
mount sdir sempty 0 MS_BIND u
mount x4095 sempty 0 MS_BIND 0
mount x4096 sempty 0 MS_BIND 0
mount x300 sempty 0 MS_BIND 0
mount sdir x4096 0 MS_BIND 0
mount s. sempty 0 MS_BIND 0
mount s. s. 0 MS_BIND 0
mount sdir s. 0 MS_BIND 0
mount sdir s.. 0 MS_BIND 0
mount s/ sempty 0 MS_BIND 0
mount s/ sempty 0 MS_BIND|MS_REC 0
mount snone sempty stmpfs 0 0
mount snone sempty stmpfs 0 smode=700,size=64k
mount snone sempty stmpfs MS_RDONLY|MS_NOSUID|MS_NODEV|MS_NOEXEC smode=755
mount snone sempty stmpfs 0 snonsense=1
mount snone sempty stmpfs 0 suid=notanumber
mount snone sempty stmpfs 0 smode=755,
mount snone sempty stmpfs 0 u
mount snone sempty stmpfs 0 x4096
mount snone sempty stmpfs 0 e
mount 0 sempty stmpfs 0 0
mount s sempty stmpfs 0 0
mount u sempty stmpfs 0 0
mount x300 sempty stmpfs 0 0
mount x4096 sempty stmpfs 0 0
mount snone sempty 0 0 0
mount snone sempty s 0 0
mount snone sempty u 0 0
mount snone sempty snofs 0 0
mount snone sempty x300 0 0
mount snone sempty x4096 0 0
mount snone sempty stmpfs.sub 0 0
mount snone sfile stmpfs 0 0
mount snone slfile stmpfs 0 0
mount snone sldir stmpfs 0 smode=711
mount snone smissing stmpfs 0 0
mount snone smissing snofs 0 0
mount snone sempty sext4 0 0
mount s/dev/null sempty sext4 0 0
mount sfile sempty sext4 0 0
mount snone sempty sramfs 0 0
mount snone sempty smqueue 0 0
mount snone sempty sdevpts 0 0
mount sempty sdir 0 MS_MOVE 0
mount sempty/ sldir 0 MS_MOVE 0
mount sempty/sub sdir 0 MS_MOVE 0
mount sempty sempty/sub 0 MS_MOVE 0
mount sempty sfile 0 MS_MOVE 0
mount sdir sempty 0 MS_MOVE 0
mount sro sfile 0 MS_MOVE 0
mount sro sempty 0 MS_MOVE 0
mount smissing sempty 0 MS_MOVE 0
mount 0 sempty 0 MS_MOVE 0
mount s. sempty 0 MS_MOVE 0
mount s/ sempty 0 MS_MOVE 0
mount 0 sempty 0 MS_REMOUNT|MS_RDONLY 0
mount 0 sempty 0 MS_REMOUNT|MS_BIND|MS_RDONLY 0
mount 0 sempty 0 MS_REMOUNT|MS_BIND|MS_NOSUID|MS_NODEV|MS_NOEXEC 0
mount 0 sempty 0 MS_REMOUNT|MS_BIND|MS_RDONLY smode=700
mount 0 sempty snofs MS_REMOUNT smode=700
mount 0 sempty 0 MS_REMOUNT snonsense=1
mount u sempty 0 MS_REMOUNT 0
mount 0 s. 0 MS_REMOUNT|MS_BIND|MS_RDONLY 0
mount 0 s@ 0 MS_REMOUNT|MS_BIND 0
mount 0 sdir 0 MS_REMOUNT|MS_RDONLY 0
mount 0 smissing 0 MS_REMOUNT 0
mount 0 sro 0 MS_REMOUNT|MS_BIND|MS_RDONLY 0
mount 0 s/ 0 MS_REMOUNT|MS_BIND 0
mount 0 sempty 0 MS_SHARED 0
mount 0 sempty 0 MS_PRIVATE|MS_REC 0
mount 0 sempty 0 MS_SLAVE 0
mount 0 sempty 0 MS_UNBINDABLE 0
mount 0 sempty 0 MS_SHARED|MS_SLAVE 0
mount 0 sempty 0 MS_SHARED|MS_RDONLY 0
mount 0 sempty 0 MS_SHARED|MS_BIND 0
mount 0 sdir 0 MS_SHARED 0
mount u smissing u MS_SHARED u
mount sdir sempty 0 MS_BIND|MS_MOVE 0
mount snone sempty stmpfs -1 0
mount snone sempty stmpfs 0xC0ED0000 0
umount2 sempty 0
umount2 sempty/ MNT_DETACH
umount2 sempty MNT_FORCE
umount2 sempty MNT_EXPIRE
umount2 sempty MNT_EXPIRE|MNT_DETACH
umount2 sempty MNT_EXPIRE|MNT_FORCE
umount2 sempty UMOUNT_NOFOLLOW
umount2 sempty 16
umount2 sempty -1
umount2 smissing 16
umount2 sempty/sub 0
umount2 sempty/sub/.. 0
umount2 sempty/. 0
umount2 sempty/.. 0
umount2 sempty/. MNT_DETACH
umount2 sempty/sub/.. MNT_DETACH
umount2 sro 0
umount2 sro/ 0
umount2 sro UMOUNT_NOFOLLOW|MNT_DETACH
umount2 sdir 0
umount2 sldir 0
umount2 sldir UMOUNT_NOFOLLOW
umount2 sldir/ UMOUNT_NOFOLLOW
umount2 slfile UMOUNT_NOFOLLOW
umount2 smissing 0
umount2 smissing MNT_DETACH
umount2 sdangling UMOUNT_NOFOLLOW
umount2 sdangling 0
umount2 sloop 0
umount2 sfile/x 0
umount2 sclosed/inner 0
umount2 s 0
umount2 0 0
umount2 u 0
umount2 e MNT_DETACH
umount2 x256 0
umount2 x4096 0
umount2 s. 0
umount2 s. MNT_DETACH
umount2 s.. 0
umount2 s@ 0
umount2 s@ MNT_DETACH
umount2 s@/ UMOUNT_NOFOLLOW|MNT_DETACH
umount2 s@/empty 0
umount2 s/ 0
umount2 s// MNT_DETACH
umount2 s/proc/self/cwd/empty 0
umount2 s/proc/self/cwd MNT_DETACH
umount2 s/proc/self/fd/4 MNT_DETACH
fspick AT_FDCWD sempty 0 :fd
fspick AT_FDCWD sempty 1 :fd
fspick AT_FDCWD sempty 3 :fd
fspick 99 s@ 1 :fd
fspick AT_FDCWD s. 1 :fd
fspick AT_FDCWD s 9 :fd
fspick AT_FDCWD s 1 :fd
fspick AT_FDCWD sldir 2 :fd
fspick AT_FDCWD sldir 0 :fd
fspick AT_FDCWD smissing 1 :fd
fspick AT_FDCWD sfile/x 1 :fd
fspick AT_FDCWD u 1 :fd
fspick 99 sempty 1 :fd
move_mount AT_FDCWD sempty AT_FDCWD sdir 0
move_mount AT_FDCWD sempty AT_FDCWD sldir 0
move_mount AT_FDCWD sempty AT_FDCWD sldir 16
move_mount AT_FDCWD sdir AT_FDCWD sempty 0
move_mount AT_FDCWD smissing AT_FDCWD sempty 0
move_mount AT_FDCWD sempty AT_FDCWD smissing 0
move_mount AT_FDCWD s AT_FDCWD sdir 4
move_mount AT_FDCWD sempty AT_FDCWD sfile 0
move_mount 99 sempty AT_FDCWD sdir 0
umount2 s/proc/self/fd/4 0
mount s/proc/self/fd/4 sdir 0 MS_BIND 0
mount sdir s/proc/self/fd/4 0 MS_BIND 0
umount2 s/proc/self/root 0
""".strip()
    .replace("0xC0ED0000", str(0xC0ED0000))
    .splitlines()
)
PROC = "mount snone sempty sproc 0 0; !statfs sempty ostatfs; !openat AT_FDCWD sempty/stat 0 =8"
SHARING = [
    f"!mount s@/dir s@/dir 0 MS_BIND 0; !mount 0 s@/dir 0 {before} 0; mount 0 sdir 0 {after} 0"
    for before, after in product(
        ("MS_PRIVATE", "MS_SHARED", "MS_SHARED|MS_REC"),
        ("MS_SHARED", "MS_SLAVE", "MS_PRIVATE", "MS_UNBINDABLE", "MS_SHARED|MS_REC", "MS_REC"),
    )
]


def _mounts(*spaces: str) -> Iterator[str]:
    for space, setup, call in product(spaces, SETUPS, MOUNTS):
        yield SPACES[space] + setup + call + SEEN
    for space, call in product(spaces, SHARING):
        yield SPACES[space] + call + PEERS
    for space in spaces:
        yield SPACES[space] + PROC


# -- names of the machine

NAMES = ["s 0", "sa 1", "sabc 2", "x63 63", "x64 64", "x65 65", "x64 -1", "x300 300", "u 3", "u 65"]
NAMES += ["0 0", "0 3", "u 0", "u -1", "e 3", "e 4", "b%00x%00 3", "b%FF%0A 2", "x64 4294967297"]
NAMES += [f"x{size} {size}" for size in range(2, 63, 7)]
UTS = {"none": "", "root": "!unshare CLONE_NEWUTS; "}
UTS["user"] = "!unshare CLONE_NEWUSER|CLONE_NEWUTS; "
UTS["both"] = "!unshare CLONE_NEWUTS; !unshare CLONE_NEWUSER; "


def _names(*spaces: str) -> Iterator[str]:
    for space, call, name in product(spaces, ("sethostname", "setdomainname"), NAMES):
        yield f"{UTS[space]}{call} {name}; !uname o390"


# -- scheduling

POLICIES = [*map(str, range(8)), "-1", "MAX", "256", "4294967297"]
POLICIES += [str(0x40000000 | one) for one in range(7)]
PRIORITIES = [packed(one, size=4) for one in (0, 1, 50, 99, 100, -1)] + ["u", "0", "e"]
ATTRIBUTES = [
    f"{packed(size, policy, size=4)}{packed(flags)[1:]}{packed(nice, priority, size=4)[1:]}"
    f"{packed(*times, 0)[1:]}"
    for size, policy, flags, nice, priority, times in (
        (48, 0, 0, 5, 0, (0, 0, 0)), (48, 0, 0, -5, 0, (0, 0, 0)), (48, 1, 0, 0, 7, (0, 0, 0)),
        (0, 0, 0, 3, 0, (0, 0, 0)), (47, 0, 0, 0, 0, (0, 0, 0)), (56, 0, 0, 1, 0, (0, 0, 0)),
        (48, 3, 1, 99, 0, (0, 0, 0)), (48, 6, 0, 0, 0, (10**6, 10**7, 10**7)),
        (48, 6, 0, 0, 0, (10**7, 10**6, 10**6)), (48, 5, 0, 0, 1, (0, 0, 0)),
        (48, 0, 1 << 40, 0, 0, (0, 0, 0)), (4096, 0, 0, 0, 0, (0, 0, 0)),
        (4097, 0, 0, 0, 0, (0, 0, 0)), (48, 0, 8, 0, 0, (0, 0, 0)), (48, 9, 0, 0, 0, (0, 0, 0)),
    )
]  # fmt: skip
NOW = "; !sched_getattr 0 o48 48 0"
SCHEDULED = ["", "!sched_setscheduler 0 SCHED_IDLE " + packed(0, size=4) + "; "]
REAL_TIME = ["!sched_setscheduler 0 SCHED_FIFO " + packed(9, size=4) + "; "]


def _scheduling(settings: list[str]) -> Iterator[str]:
    for setting, policy, priority in product(settings, POLICIES, PRIORITIES):
        yield f"{setting}sched_setscheduler 0 {policy} {priority}{NOW}"
    for setting, pid, priority in product(settings, ("0", "-1", "999999"), PRIORITIES):
        yield f"{setting}sched_setparam {pid} {priority}{NOW}"
        yield f"{setting}sched_setscheduler {pid} SCHED_BATCH {priority}{NOW}"
    for setting, flags, attributes in product(settings, "01", [*ATTRIBUTES, "u", "0", "e"]):
        yield f"{setting}sched_setattr 0 {attributes} {flags}{NOW}"


def root() -> Iterator[str]:
    """All that root tries."""
    yield from _mounts("root", "both")
    yield from _names("root", "both")
    yield from _scheduling([*SCHEDULED, *REAL_TIME])


def users() -> Iterator[str]:
    """All that a user tries."""
    yield from _mounts("none", "user")
    yield from _names("none", "user")
    yield from _scheduling(SCHEDULED)
