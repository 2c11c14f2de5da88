"""Path shapes, and the calls that take one path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from calltable.language import packed

# What there is in a stage: see stage.c.
KINDS = ["file", "dir", "lfile", "ldir", "dangling", "loop", "fifo", "sock", "null"]
ODD = [
    "chain",
    "lslash",
    "ldot",
    "lnew",
    "lfar",
    "lup",
    "lself",
    "lnull",
    "lsock",
    "dslash",
    "fslash",
    "lclosed",
    "lroot",
    "ro",
    "wo",
    "secret",
    "theirs",
    "grp",
    "suid",
    "exec",
    "empty",
    "b%FF%FE",
    "new",
    "missing/new",
    "dir/",
    "file/",
    "lfile/",
    "ldir/",
    "new/",
    "dangling/",
    "loop/",
    "lslash/",
    "dir/.",
    "dir/..",
    "ldir/.",
    "ldir/..",
    "file/.",
    "file/..",
    "dir/../file",
    "dir/inner",
    "ldir/inner",
    "dir/new",
    "ldir/new",
    "dir//inner",
    "./file",
    ".//file",
    "dir/sub/../inner",
    "file/x",
    "lfile/x",
    "fifo/x",
    "loop/x",
    "dangling/x",
    "missing/../file",
    "closed",
    "closed/inner",
    "closed/new",
    "noperm",
    "noperm/inner",
    "noperm/new",
    "rodir/inner",
    "rodir/new",
    "sticky/theirs",
    "sticky/link",
    "sticky/new",
    "setgid/inner",
    "setgid/new",
    ".",
    "..",
    "/",
    "//",
    "/.",
    "@",
    "@/file",
    "@/new",
    "@/ldir/inner",
    "@/dir/../file",
    "../..",
    "/dev/null",
]
PROC = [
    "/proc/self/cwd/file",
    "/proc/self/cwd/new",
    "/proc/self/fd/50",
    "/proc/self/fd/51",
    "/proc/self/fd/51/inner",
    "/proc/self/fd/99",
    "/dev/fd/50",
    "/proc/thread-self/fd/50",
    "/proc/self",
    "/proc/self/",
    "/proc/self/root",
    "/proc/self/exe",
    "/proc/self/fd/52",
    "/proc/self/cwd",
    "/proc/self/cwd/",
    "/proc/self/cwd/lfile",
    "lself/",
    "/proc/self/fd/50/",
    "/proc/self/fd/51/",
    "/proc/self/fd/51/..",
    "/proc/self/comm",
    "/proc/self/fd/",
    "/proc/self/nothing",
    "/proc/nothing",
    "/proc/self/fdinfo/../cwd/ldir/inner",
]
TEXTS = [f"s{one}" for one in (*KINDS, *ODD)]
PROC_TEXTS = [f"s{one}" for one in PROC]
HARD = ["s", "0", "u", "e", "x255", "x256", "d4095:file", "d4096:file", "d4095:@/file"]
HARD += ["d4095:new", "sdir/" + "y" * 256, "sfile/" + "y" * 256, "sdir/" + "y" * 255]
PATHS = [*TEXTS, *HARD]
FDS = (
    "!openat AT_FDCWD sfile O_RDWR =1; !dup2 $1 50; !openat AT_FDCWD sdir O_RDONLY =2; "
    "!dup2 $2 51; !pipe bxxxxxxxx; !socket AF_UNIX SOCK_STREAM 0 =3; !dup2 $3 52; "
)
TIMES = packed(1234567890, 123456789, 987654321, 987654321)
MICROS = packed(1234567890, 123456, 987654321, 654321)

# Calls on one path, where P stands for it; and the same with a descriptor D that it starts from.
PLAIN = """
open P O_NONBLOCK 0 :fd
open P O_RDWR|O_CLOEXEC|O_NONBLOCK 0 :fd
open P O_CREAT|O_RDWR|O_NONBLOCK 0640 :fd
creat P 0666 :fd
mknod P S_IFREG|0666 0
mknod P S_IFIFO|0666 0
mkdir P 0777
unlink P
rmdir P
symlink stext P
chmod P 0600
chmod P 06777
chown P 4242 4242
lchown P 4242 -1
truncate P 5
utime P 0
utimes P 0
setxattr P suser.new sabc 3 0
lsetxattr P suser.new sabc 3 0
getxattr P suser.have o64 64 :same
lgetxattr P suser.have o64 64
removexattr P suser.have
lremovexattr P suser.have
listxattr P o256 256 :same
llistxattr P o256 256
access P F_OK
access P R_OK|W_OK
access P X_OK
stat P ostat :same
lstat P ostat :same
statfs P ostatfs
readlink P o300 300
link P snewlink
link sfile P
rename P srenamed
rename sfile P
rename sempty P
""".strip().splitlines()
AT = """
openat D P O_RDONLY|O_NONBLOCK 0 :fd
openat D P O_RDONLY|O_NOFOLLOW|O_NONBLOCK 0 :fd
openat D P O_RDONLY|O_DIRECTORY 0 :fd
openat D P O_CREAT|O_EXCL|O_WRONLY 0666 :fd
openat D P O_WRONLY|O_CREAT|O_TRUNC|O_NONBLOCK|O_APPEND 0600 :fd
openat D P O_DIRECTORY|O_RDWR|O_TMPFILE_BIT 0640 :fd
mknodat D P S_IFCHR|0666 259
mkdirat D P 0700
unlinkat D P 0
unlinkat D P AT_REMOVEDIR
symlinkat slfile D P
fchmodat D P 0640
fchmodat2 D P 0611 AT_SYMLINK_NOFOLLOW
fchmodat2 D P 0611 AT_EMPTY_PATH
fchownat D P -1 4242 AT_SYMLINK_NOFOLLOW
fchownat D P -1 4242 AT_EMPTY_PATH
faccessat D P R_OK
faccessat2 D P W_OK AT_EACCESS
faccessat2 D P X_OK AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH
newfstatat D P ostat 0 :same
newfstatat D P ostat AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH :same
statx D P AT_SYMLINK_NOFOLLOW STATX_ALL ostatx
statx D P AT_EMPTY_PATH|AT_NO_AUTOMOUNT STATX_BASIC ostatx
readlinkat D P o300 300 :same
utimensat D P TIMES 0
utimensat D P TIMES AT_SYMLINK_NOFOLLOW
utimensat D P TIMES AT_EMPTY_PATH
futimesat D P MICROS
linkat D P AT_FDCWD snewlink AT_SYMLINK_FOLLOW
linkat D P AT_FDCWD snewlink AT_EMPTY_PATH
linkat AT_FDCWD sfile D P 0
renameat D P AT_FDCWD srenamed
renameat2 AT_FDCWD sdir D P RENAME_NOREPLACE
renameat2 AT_FDCWD sfile D P RENAME_EXCHANGE
openat2 D P HOW0 24 :fd
""".strip().splitlines()
HOW0 = packed(0o4000, 0, 0)
DIRS = {
    "cwd": ("", "AT_FDCWD"),
    "dir": ("!openat AT_FDCWD sdir O_RDONLY|O_DIRECTORY =1; ", "$1"),
    "path": ("!openat AT_FDCWD sdir O_PATH =1; ", "$1"),
    "file": ("!openat AT_FDCWD sfile O_RDWR =1; ", "$1"),
    "filepath": ("!openat AT_FDCWD sfile O_PATH =1; ", "$1"),
    "linkpath": ("!openat AT_FDCWD slfile O_PATH|O_NOFOLLOW =1; ", "$1"),
    "sock": ("!socket AF_UNIX SOCK_STREAM 0 =1; ", "$1"),
    "bad": ("", "-1"),
    "none": ("", "999"),
}
FEW = [
    "sinner",
    "snew",
    "s",
    "0",
    "u",
    "s@/file",
    "s../file",
    "s/",
    "sinner/",
    "x256",
    "ssub",
    "s.",
    "d4096:x",
]


def fill(call: str, path: str, start: str = "") -> str:
    """A line of the table with its holes filled."""
    names = {"P": path, "D": start, "TIMES": TIMES, "MICROS": MICROS, "HOW0": HOW0}
    return " ".join(names.get(word, word) for word in call.split())


def plain() -> Iterator[str]:
    """Every call with every shape of path."""
    for call, path in product(PLAIN, PATHS):
        yield fill(call, path)


def at() -> Iterator[str]:
    """Every *at call with every shape of path from the working directory."""
    for call, path in product(AT, PATHS):
        yield fill(call, path, "AT_FDCWD")


def starts() -> Iterator[str]:
    """Every *at call with a few paths from every kind of descriptor."""
    for call, (setup, start), path in product(AT, DIRS.values(), FEW):
        yield setup + fill(call, path, start)


def proc() -> Iterator[str]:
    """Every call through /proc and /dev/fd."""
    for call, path in product([*PLAIN, *AT], PROC_TEXTS):
        yield FDS + fill(call, path, "AT_FDCWD")


def everything() -> Iterator[str]:
    """All of them."""
    for part in (plain, at, starts, proc):
        yield from part()
