"""Every argument of every call that can be performed, with numbers at the edges of C's types."""

from __future__ import annotations

from collections.abc import Iterator

from calltable.language import packed

# The edges of int, unsigned, long and unsigned long; AT_FDCWD with the upper half that an int has,
# and without; and numbers that are good in their lower half alone.
EDGES = (
    -1, 2**31 - 1, 2**31, 2**32 - 100, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**63 + 1,
)  # fmt: skip
LOWER = (1 << 31, 1 << 32, 1 << 63)  # bits that are put beside those of a good number
_FILE = "!openat AT_FDCWD sfile O_RDWR =3; "
_UDP = "!socket AF_INET SOCK_DGRAM 0 =1; !bind $1 q0 z; !socket AF_INET SOCK_DGRAM 0 =2; "
_LOCAL = "!socket AF_UNIX SOCK_DGRAM 0 =1; !unlink ssock; !bind $1 asock z; "
_LOCAL += "!socket AF_UNIX SOCK_DGRAM 0 =2; "
_TIMES = packed(1, 2, 3, 4)
_HOW = packed(0, 0, 0)
PLAIN = f"""
open sfile 0 0
open snew 66 0644
openat -100 sfile 0 0
openat -100 slfile 131072 0
openat -100 snew 66 0644
openat -100 s. 4259842 0644
openat2 -100 sfile {_HOW} 24
creat snew 0644
access sfile 4
faccessat -100 sfile 4
faccessat2 -100 sfile 4 0
chmod sfile 0600
fchmodat -100 sfile 0600
fchmodat2 -100 sfile 0600 0
chown sfile -1 -1
lchown slfile -1 -1
fchownat -100 sfile -1 -1 0
mkdir snew 0755
mkdirat -100 snew 0755
mknod snew 4516 0
mknodat -100 snew 4516 0
unlink sfile
unlinkat -100 sfile 0
rmdir sempty
rename sfile snew
renameat -100 sfile -100 snew
renameat2 -100 sfile -100 snew 0
link sfile snew
linkat -100 sfile -100 snew 0
symlink sfile snew
symlinkat sfile -100 snew
truncate sfile 3
utimensat -100 sfile {_TIMES} 0
futimesat -100 sfile {_TIMES}
stat sfile ostat
newfstatat -100 sfile ostat 0
statx -100 sfile 0 2047 ostatx
statfs sfile ostatfs
readlink slfile o64 64
readlinkat -100 slfile o64 64
setxattr sfile suser.x sv 1 0
getxattr sfile suser.have o64 64
listxattr sfile o64 64
removexattr sfile suser.have
FILE fchmod $3 0600
FILE fchown $3 -1 -1
FILE ftruncate $3 3
FILE fstat $3 ostat
FILE fsetxattr $3 suser.x sv 1 0
FILE fgetxattr $3 suser.have o64 64
LOCAL connect $2 asock 7
LOCAL bind $2 anew 6
LOCAL sendto $2 shello 5 64 asock 7; got $1
LOCAL sendmsg $2 masock,hello,- 64; got $1
LOCAL sendmmsg $2 masock,hello,- 1 64; got $1
UDP connect $2 p1 16
UDP bind $2 q0 16
UDP sendto $2 shello 5 64 p1 16; got $1
UDP sendmsg $2 mp1,hello,- 64; got $1
UDP sendmmsg $2 mp1,hello,- 1 64; got $1
""".strip().splitlines()
POWERS = f"""
mount snone sempty stmpfs 0 0
mount sdir sempty 0 4096 0
umount2 sempty 0
!unshare CLONE_NEWUTS; sethostname sname 4
!unshare CLONE_NEWUTS; setdomainname sname 4
sched_setscheduler 0 0 {packed(0)}
sched_setparam 0 {packed(0)}
fspick -100 s@ 0
move_mount -100 sdir -100 sempty 0
mount_setattr -100 sdir 0 {packed(1, 0, 0, 0)} 32
mount_setattr -100 sdir 0 {packed(0, 0, 0, 0)} 32
""".strip().splitlines()
SETUPS = {"FILE": _FILE, "UDP": _UDP, "LOCAL": _LOCAL}


def _varied(line: str) -> Iterator[str]:
    """The case with one argument of its own call after the other exchanged."""
    first, _, rest = line.partition(" ")
    setup = SETUPS.get(first, "")
    steps = (rest if setup else line).split("; ")
    at = next(at for at, step in enumerate(steps) if not step.startswith("!"))
    name, *words = steps[at].split(" ")
    for place, word in enumerate(words):
        numbers: list[int] = list(EDGES)
        if word.lstrip("-").isdigit():
            number = int(word, 8) if word.startswith("0") else int(word)
            numbers += [(number & 2**32 - 1) | bits for bits in LOWER]
        for number in dict.fromkeys(numbers):
            changed = [*words[:place], str(number), *words[place + 1 :]]
            yield setup + "; ".join([*steps[:at], " ".join([name, *changed]), *steps[at + 1 :]])


def anybody() -> Iterator[str]:
    """What everybody may call."""
    for line in PLAIN:
        yield from _varied(line)


def root() -> Iterator[str]:
    """And what takes powers."""
    yield from anybody()
    for line in POWERS:
        yield from _varied(line)
