"""openat2: its limits on the way there, its structure, and what else no other open has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

from calltable.language import packed
from calltable.paths import DIRS, FDS, FEW, HARD, PROC_TEXTS, TEXTS
from calltable.settings import BIND

NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 1, 2, 4, 8, 16
LIMITS = [NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, NO_XDEV | BENEATH, NO_MAGICLINKS | BENEATH]
LIMITS += [NO_SYMLINKS | NO_XDEV, 15]
TMPFILE = 0o20000000 | os.O_DIRECTORY | os.O_RDWR
OPENS = [
    (os.O_NONBLOCK, 0),
    (os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o640),
    (os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666),
    (os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0),
    (os.O_DIRECTORY | os.O_CLOEXEC, 0),
    (TMPFILE, 0o600),
]
BEYOND = ["sempty/inner", "sempty", "sempty/../file", "sempty/sub/..", "s@/empty/theirs", "snull"]
BEYOND += ["s/proc/self", "s/dev/null", "slself", "slroot", "sldir/inner", "sempty/new", "s.."]
ROOTS = ["!unshare CLONE_NEWNS; " + BIND, "!chroot s.; !chdir s/dir; "]
USERS = ["!unshare CLONE_NEWUSER|CLONE_NEWNS; " + BIND]


def how(flags: int = 0, mode: int = 0, resolve: int = 0, *more: int) -> str:
    """A struct open_how in memory, and its size."""
    return f"{packed(flags, mode, resolve, *more)} {24 + 8 * len(more)}"


BAD_SIZES = [f"openat2 AT_FDCWD sfile {packed(0, 0, 0)} {size}" for size in (0, 1, 8, 23)] + [
    f"openat2 AT_FDCWD sfile {packed(0, 0, 0, 0, 1)} {size} :fd" for size in (25, 32, 33, 40)
] + [
    "openat2 AT_FDCWD sfile u 24", "openat2 AT_FDCWD sfile 0 24", "openat2 AT_FDCWD sfile u 4097",
    "openat2 AT_FDCWD sfile 0 0", "openat2 AT_FDCWD u u 24", "openat2 AT_FDCWD smissing u 24",
    f"openat2 AT_FDCWD sfile {packed(0, 0, 0)} 4096", f"openat2 AT_FDCWD sfile {packed(0)} MAX",
    f"openat2 AT_FDCWD sfile {packed(*([0] * 512))} 4096 :fd",
    f"openat2 AT_FDCWD sfile {packed(*([0] * 513))} 4104",
]  # fmt: skip
BAD_VALUES = [
    (1 << 63, 0, 0), (1 << 32, 0, 0), (1 << 31, 0, 0), (1 << 26, 0, 0), (4, 0, 0), (3, 0, 0),
    (0, 0o644, 0), (0, 1, 0), (os.O_CREAT, 0o10000, 0), (os.O_CREAT, 0o7777, 0), (0, 1 << 32, 0),
    (os.O_CREAT | os.O_WRONLY, 1 << 32, 0), (os.O_CREAT, 0o100644, 0), (0, 0, 64), (0, 0, 1 << 32),
    (0, 0, 1 << 63), (0, 0, BENEATH | IN_ROOT), (os.O_PATH | os.O_RDWR, 0, 0), (TMPFILE, 0, 0),
    (os.O_PATH | os.O_CREAT, 0o644, 0), (0o20000000 | os.O_RDWR, 0o644, 0),
    (0o20000000 | os.O_DIRECTORY, 0o644, 0), (os.O_CREAT | os.O_DIRECTORY, 0o644, 0),
    (os.O_TRUNC, 0, 0), (os.O_EXCL, 0, 0), (os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644, 32),
    (os.O_RDWR | os.O_TRUNC, 0, 32), (TMPFILE, 0o644, 32), (os.O_DIRECTORY, 0, IN_ROOT),
    (os.O_APPEND | os.O_WRONLY, 0, 0), (os.O_SYNC, 0, 0), (os.O_DIRECT, 0, 0), (0o100000, 0, 0),
]  # fmt: skip


def limits() -> Iterator[str]:
    """Every limit with every shape of path, from the working directory."""
    for resolve, (flags, mode), path in product(LIMITS, OPENS, [*TEXTS, *HARD]):
        yield f"openat2 AT_FDCWD {path} {how(flags, mode, resolve)} :fd"


def starts() -> Iterator[str]:
    """Every limit from every kind of descriptor, through /proc, and over the borders of mounts."""
    for resolve, (flags, mode) in product(LIMITS, OPENS):
        rest = f"{how(flags, mode, resolve)} :fd"
        for (setup, start), path in product(DIRS.values(), FEW):
            yield f"{setup}openat2 {start} {path} {rest}"
        for path in PROC_TEXTS:
            yield f"{FDS}openat2 AT_FDCWD {path} {rest}"


def in_root() -> Iterator[str]:
    """The limit that makes a directory the root."""
    for (flags, mode), path in product(OPENS, [*TEXTS, *HARD]):
        yield f"openat2 AT_FDCWD {path} {how(flags, mode, IN_ROOT)} :fd"
    for (flags, mode), (setup, start), path in product(OPENS, DIRS.values(), FEW):
        yield f"{setup}openat2 {start} {path} {how(flags, mode, IN_ROOT)} :fd"
    for (flags, mode), path in product(OPENS, PROC_TEXTS):
        yield f"{FDS}openat2 AT_FDCWD {path} {how(flags, mode, IN_ROOT)} :fd"


def beyond(settings: list[str]) -> Iterator[str]:
    """Every limit where something is mounted in the stage, or the root is another one."""
    for setting, resolve, (flags, mode), path in product(settings, LIMITS, OPENS, BEYOND):
        yield f"{setting}openat2 AT_FDCWD {path} {how(flags, mode, resolve)} :fd"


def structures() -> Iterator[str]:
    """What is no good open_how, with a good and with a bad path."""
    yield from BAD_SIZES
    for values, path in product(BAD_VALUES, ("sfile", "snew", "sdir", "smissing/new", "u", "s")):
        yield f"openat2 AT_FDCWD {path} {how(*values)} :fd"


PATH_FLAGS = ["", "|O_NOFOLLOW", "|O_DIRECTORY", "|O_CLOEXEC", "|O_CREAT", "|O_RDWR|O_TRUNC"]


def places() -> Iterator[str]:
    """O_PATH: what is opened, and what it says of itself."""
    for more, path in product(PATH_FLAGS, [*TEXTS, *HARD]):
        yield f"openat AT_FDCWD {path} O_PATH{more} 0 =1; !fstat $1 ostat; !readlinkat $1 s o9 9"
    for path in PROC_TEXTS:
        yield f"{FDS}openat AT_FDCWD {path} O_PATH 0 =4; !fstat $4 ostat"


NAMELESS = ["O_RDWR", "O_WRONLY", "O_RDONLY", "O_RDWR|O_EXCL", "O_RDWR|O_CREAT", "O_RDWR|O_TRUNC"]


def nameless() -> Iterator[str]:
    """O_TMPFILE: what is made, and what becomes of it when it gets a name."""
    for more, path in product(NAMELESS, [*TEXTS, *HARD]):
        yield f"openat AT_FDCWD {path} {more}|O_TMPFILE_BIT|O_DIRECTORY 0640 :fd"
    for more, mode in product(NAMELESS, ("0", "0640", "06777", "0100644", "-1")):
        yield (
            f"openat AT_FDCWD s. {more}|O_TMPFILE_BIT|O_DIRECTORY {mode} =1; "
            "!write $1 shello 5; linkat AT_FDCWD s/proc/self/fd/4 AT_FDCWD snew AT_SYMLINK_FOLLOW"
        )


def root() -> Iterator[str]:
    """All that root tries."""
    for part in (limits(), starts(), beyond(ROOTS), structures(), in_root()):
        yield from part


def users() -> Iterator[str]:
    """All that a user tries."""
    for part in (limits(), starts(), beyond(USERS), structures(), in_root()):
        yield from part


def results() -> Iterator[str]:
    """What is opened in other ways than to be read and written."""
    yield from places()
    yield from nameless()
