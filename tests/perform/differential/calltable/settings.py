"""Settings: what else decides how a call ends, and the calls that are tried in each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from calltable.language import packed
from calltable.paths import MICROS, TIMES

_MAP = "!openat AT_FDCWD s/proc/self/uid_map O_WRONLY =9; !write $9 s0%20{0}%201 {1}; !close $9; "
BIND = "!mount s@/dir s@/empty 0 MS_BIND 0; "
_KNOWN = 0x20080522  # _LINUX_CAPABILITY_VERSION_3


def _caps(*powers: int) -> str:
    """Keep these capabilities, and no others."""
    low = sum(1 << power for power in powers)
    return f"!capset {packed(_KNOWN, 0, size=4)} {packed(low, low, 0, 0, 0, 0, size=4)}; "


# What everybody may do, and what only root can.
ANYBODY = {
    "umask 0": "!umask 0; ",
    "umask 0777": "!umask 0777; ",
    "umask 027": "!umask 027; ",
    "in dir": "!chdir sdir; ",
    "in a closed directory": "!mkdir sgone 0700; !chdir sgone; ",
    "in a removed directory": "!mkdir sgone 0700; !chdir sgone; !rmdir s@/gone; ",
    "no descriptor left": "full; ",
    "RLIMIT_FSIZE": "!prlimit64 0 RLIMIT_FSIZE " + packed(7, 7) + " 0; ",
    "no new privileges": "!prctl 38 1 0 0 0; ",
    "unshared files": "!unshare CLONE_FS|CLONE_FILES; ",
    "user namespace": "!unshare CLONE_NEWUSER; ",
    "mapped user namespace": "!unshare CLONE_NEWUSER; " + _MAP.format(0, 5),
    "mapped user namespace of a user": "!unshare CLONE_NEWUSER; " + _MAP.format(1000, 8),
    "user and mount namespace": "!unshare CLONE_NEWUSER|CLONE_NEWNS; " + BIND,
    "not dumpable": "!prctl 4 0 0 0 0; ",
}
ROOT = {
    "chroot": "!chroot s.; !chdir s/; ",
    "chroot, in dir": "!chroot s.; !chdir s/dir; ",
    "chroot, and outside": "!chroot sdir; ",
    "mount namespace": "!unshare CLONE_NEWNS; " + BIND,
    "read-only mount": "!unshare CLONE_NEWNS; !mount s. s. 0 MS_BIND 0; "
    "!mount 0 s@ 0 MS_BIND|MS_REMOUNT|MS_RDONLY 0; !chdir s@; ",
    "nodev mount": "!unshare CLONE_NEWNS; !mount s. s. 0 MS_BIND 0; "
    "!mount 0 s@ 0 MS_BIND|MS_REMOUNT|MS_NODEV|MS_NOSUID 0; !chdir s@; ",
    "fsuid": "!setfsuid 4242; ",
    "fsgid": "!setfsgid 4242; !setfsuid 4242; ",
    "fsuid kept powerful": "!setfsgid 4242; ",
    "a user": "group; !setresgid 1000 1000 1000; !setresuid 1000 1000 1000; ",
    "a user in a group": "group 7 4242; !setresgid 1000 1000 1000; !setresuid 1000 1000 1000; ",
    "the other user": "group; !setresgid 4242 4242 4242; !setresuid 4242 4242 4242; ",
    "effective user": "group; !setresgid -1 1000 -1; !setresuid -1 1000 -1; ",
    "real user": "!setresuid 1000 0 0; ",
    "no capability": _caps(),
    "CAP_DAC_OVERRIDE": _caps(1),
    "CAP_FOWNER and CAP_CHOWN": _caps(0, 3),
    "CAP_DAC_READ_SEARCH": _caps(2),
    "user with CAP_FSETID": "!prctl 8 1 0 0 0; !setresuid 1000 1000 1000; " + _caps(4),
    "user and chroot": "!chroot s.; !chdir s/; group; "
    "!setresgid 1000 1000 1000; !setresuid 1000 1000 1000; ",
}
CALLS = f"""
open sfile O_RDONLY 0 :fd
open sfile O_RDWR|O_NOFOLLOW 0 :fd
open snew O_CREAT|O_WRONLY 0666 :fd
open snew O_CREAT|O_EXCL|O_RDWR 06777 :fd
open swo O_RDONLY 0 :fd
open ssecret O_RDWR 0 :fd
open sgrp O_RDWR 0 :fd
open stheirs O_RDWR|O_TRUNC 0 :fd
open ssuid O_WRONLY|O_TRUNC 0 :fd
open snull O_RDWR 0 :fd
open s/dev/null O_RDWR 0 :fd
open s/file O_NOATIME 0 :fd
open stheirs O_NOATIME 0 :fd
open sinner O_RDONLY 0 :fd
open sempty/inner O_RDONLY 0 :fd
open s@/dir/inner O_RDONLY 0 :fd
open ssetgid/new O_CREAT|O_WRONLY 02775 :fd
open ssticky/theirs O_CREAT|O_WRONLY 0666 :fd
open snoperm O_DIRECTORY 0 :fd
open sempty O_DIRECTORY|O_RDWR|O_TMPFILE_BIT 0666 :fd
open s/../../../dir/inner O_RDONLY 0 :fd
open s. O_RDONLY 0 :fd
open s.. O_RDONLY 0 :fd
open snull O_CREAT|O_TRUNC|O_RDWR 0 :fd
open u O_RDONLY 0 :fd
open snothing O_RDONLY 0 :fd
openat2 AT_FDCWD snew {packed(0o101, 0o666, 0)} 24 :fd
creat snew 04755 :fd
mkdir snew 0777
mkdir snew 07777
mkdir ssetgid/new 0777
mkdir snoperm/new 0777
mkdir sempty/new 0755
mknod snew S_IFREG|0666 0
mknod snew S_IFIFO|0666 0
mknod snew S_IFSOCK|0666 0
mknod snew S_IFCHR|0666 259
mknod snew S_IFCHR|0666 0
mknod snew S_IFBLK|0600 1792
mknod snew S_IFDIR|0666 0
mknod ssetgid/new S_IFREG|02775 0
symlink stext ssetgid/new
symlink stext srodir/new
link sfile snew
link stheirs snew
link ssuid snew
link ssecret snew
link sfile ssetgid/new
link sfile sempty/new
unlink sfile
unlink ssticky/theirs
unlink ssticky/inner
unlink srodir/inner
unlink sclosed/inner
unlink sempty
rmdir sempty
rmdir sdir
rename sfile snew
rename sfile ssticky/theirs
rename ssticky/theirs snew
rename sdir sempty
rename sempty ssetgid/new
rename sfile sempty/new
renameat2 AT_FDCWD sfile AT_FDCWD snew RENAME_WHITEOUT
chmod sfile 06777
chmod stheirs 0600
chmod ssetgid/theirs 02777
chmod sfile 02755
chmod sdir 02777
chown sfile 4242 4242
chown sfile -1 4242
chown sfile -1 1000
chown sfile -1 7
chown ssuid 1000 -1
chown ssuid -1 -1
chown stheirs 0 0
lchown slfile 1000 1000
truncate sfile 5
truncate sfile 100
truncate sfile 7
truncate ssuid 3
truncate stheirs 3
truncate ssecret 3
utime stheirs 0
utimes ssecret 0
utimensat AT_FDCWD sfile {TIMES} 0
utimensat AT_FDCWD stheirs {TIMES} 0
utimensat AT_FDCWD stheirs {packed(0, 0x3FFFFFFF, 0, 0x3FFFFFFE)} 0
utimensat AT_FDCWD stheirs {packed(0, 0x3FFFFFFE, 0, 0x3FFFFFFE)} 0
futimesat AT_FDCWD sfile {MICROS}
setxattr sfile suser.new sabc 3 0
setxattr stheirs suser.new sabc 3 0
setxattr sfile strusted.new sabc 3 0
setxattr sfile ssecurity.new sabc 3 0
setxattr ssticky suser.new sabc 3 0
setxattr sfile suser.have sabc 3 XATTR_CREATE
setxattr sfile ssecurity.capability {packed(0x2000001, 0x400, 0, 0, 0, size=4)} 20 0
getxattr sfile suser.have o64 64
getxattr ssecret suser.have o64 64
listxattr sfile o64 64
removexattr sfile suser.have
removexattr stheirs suser.have
access sfile R_OK|W_OK
access ssecret R_OK
access sgrp R_OK|W_OK
access stheirs X_OK
access sexec X_OK
access swo R_OK
access sclosed/inner F_OK
access srodir W_OK
faccessat2 AT_FDCWD ssecret R_OK AT_EACCESS
faccessat2 AT_FDCWD sgrp R_OK|W_OK AT_EACCESS
stat sfile ostat :same
stat stheirs ostat :same
stat sclosed/inner ostat
lstat slclosed ostat :same
statx AT_FDCWD sfile 0 STATX_ALL ostatx
statfs s. ostatfs
readlink slfile o64 64
readlink sclosed o64 64
""".strip().splitlines()


def anybody() -> Iterator[str]:
    """Every call in every setting that a user can get into."""
    for setting, call in product(ANYBODY.values(), CALLS):
        yield setting + call


def root() -> Iterator[str]:
    """Every call in every setting that takes root."""
    for setting, call in product(ROOT.values(), CALLS):
        yield setting + call
