"""Extended attributes: their names and values at the limits, and what each kind is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from calltable.language import packed
from calltable.paths import DIRS, FEW

FILES = ["sfile", "sdir", "slfile", "sfifo", "snull", "ssock", "stheirs", "sro", "s/dev/null"]
FILES += ["ssticky", "s/proc/self/comm", "smissing"]
# Of POSIX access lists: the owner, a named user, the group, the mask, all others.
ACL = packed(2, size=4) + "".join(
    packed(tag, may, size=2)[1:] + packed(who, size=4)[1:]
    for tag, may, who in ((1, 6, -1), (2, 4, 4242), (4, 4, -1), (16, 4, -1), (32, 0, -1))
)
CAPABILITIES = packed(0x2000001, 0x400, 0, 0, 0, size=4)
NAMES = {
    "suser.new": "sabc 3",
    "suser.have": "sother 5",
    "strusted.new": "sabc 3",
    "ssecurity.new": "sabc 3",
    "ssecurity.capability": f"{CAPABILITIES} 20",
    "ssystem.posix_acl_access": f"{ACL} 44",
    "ssystem.posix_acl_default": f"{ACL} 44",
    "ssystem.nothing": "sabc 3",
}
HARD_NAMES = ["s", "0", "u", "e", "suser.", "suser", "snamespace.x", "strusted.", "x255", "x256"]
HARD_NAMES += ["suser." + "n" * size for size in (249, 250, 251)] + ["x4096", "suser.%FF%0A"]
VALUES = ["0 0", "s 0", "0 3", "u 3", "u 0", "e 3", "e 4", "x4096 4096", "x65536 65536"]
VALUES += ["x65536 65537", "u 65537", "0 MAX", "x3000 3000", "sabc 4294967299", "x70000 70000"]
ROOMS = ["0 0", "u 0", "o1 1", "o4 4", "o5 5", "o6 6", "u 5", "0 5", "u 4", "o64 65537", "u MAX"]
ROOMS += ["o64 4294967360"]
BAD_ACLS = [f"{ACL} 43", f"{ACL} 4", f"{ACL} 0", "0 0", f"{ACL} 12", f"{packed(3, size=4)} 4"]
BAD_CAPABILITIES = [f"{CAPABILITIES} 12", "sabc 3", f"{packed(9, 0, 0, 0, 0, size=4)} 20"]
# struct xattr_args with no value, as long as it has to be, and otherwise.
ARGS = packed(0, 0)
BAD_ARGS = [f"{ARGS} {size}" for size in (0, 1, 15, 4097, "MAX")]
BAD_ARGS += ["0 16", "u 16", "e 3", "e 16", f"{packed(0, 0, 0)} 24", f"{packed(0, 0, 1)} 24"]
BAD_ARGS += [f"{packed(0, 1 << 32)} 16", f"{packed(0, 2 << 32)} 16", f"{packed(0, 4 << 32)} 16"]
AT_FLAGS = ["0", "AT_SYMLINK_NOFOLLOW", "AT_EMPTY_PATH", "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH"]
BAD_FLAGS = ["1", "AT_SYMLINK_FOLLOW", "AT_EMPTY_PATH|AT_NO_AUTOMOUNT", "-1"]
LONG = "setxattr sfile suser.long x3000 3000 0; "
SEEN = "; !listxattr sfile o512 512; !stat sfile ostat"


def _kinds() -> Iterator[str]:
    for file, (name, value), flag in product(FILES, NAMES.items(), "0123"):
        yield f"setxattr {file} {name} {value} {flag}; !getxattr {file} {name} o99 99"
        yield f"lsetxattr {file} {name} {value} {flag}; !lgetxattr {file} {name} o99 99"
    for file, name in product(FILES, NAMES):
        yield f"getxattr {file} {name} o64 64"
        yield f"lgetxattr {file} {name} o64 64"
        yield f"removexattr {file} {name}; !listxattr {file} o512 512"
        yield f"lremovexattr {file} {name}; !llistxattr {file} o512 512"
    for name, value in NAMES.items():
        set_first = f"!setxattr sfile {name} {value} 0; "
        yield f"{set_first}getxattr sfile {name} o99 99; listxattr sfile o512 512"
        yield f"{set_first}removexattr sfile {name}{SEEN}"
        yield f"{set_first}chmod sfile 0640{SEEN}; !getxattr sfile {name} o99 99"


def _limits() -> Iterator[str]:
    for name, file in product(HARD_NAMES, ("sfile", "smissing", "u")):
        yield f"setxattr {file} {name} sabc 3 0{SEEN}"
        yield f"getxattr {file} {name} o64 64"
        yield f"removexattr {file} {name}{SEEN}"
    for value, name, file in product(VALUES, ("suser.new", "suser.have"), ("sfile", "smissing")):
        yield f"setxattr {file} {name} {value} 0{SEEN}; !getxattr sfile {name} 0 0"
    for room in ROOMS:
        yield f"getxattr sfile suser.have {room}"
        yield f"getxattr sfile suser.none {room}"
        yield f"listxattr sfile {room}"
        yield f"listxattr smissing {room}"
        yield f"!{LONG}getxattr sfile suser.long {room}"
    for size in (2999, 3000, 3001, 65535, 65536, 65537):
        yield f"!{LONG}getxattr sfile suser.long o{size} {size} :same"
    for flag in ("4", "-1", "4294967297", "3"):
        yield f"setxattr sfile suser.have sabc 3 {flag}{SEEN}"
        yield f"setxattr smissing suser.have sabc 3 {flag}"
    for name, values in (("access", BAD_ACLS), ("default", BAD_ACLS)):
        for value, file in product(values, ("sfile", "sdir")):
            yield f"setxattr {file} ssystem.posix_acl_{name} {value} 0{SEEN}"
    for value in BAD_CAPABILITIES:
        yield f"setxattr sfile ssecurity.capability {value} 0{SEEN}"


def _at() -> Iterator[str]:
    bad = product((DIRS["cwd"], DIRS["dir"]), ("sinner", "snew"), BAD_FLAGS)
    for (setup, start), path, flags in (*product(DIRS.values(), FEW, AT_FLAGS), *bad):
        yield f"{setup}setxattrat {start} {path} {flags} suser.new {ARGS} 16{SEEN}"
        yield f"{setup}getxattrat {start} {path} {flags} suser.have {ARGS} 16"
        yield f"{setup}listxattrat {start} {path} {flags} o64 64"
        yield f"{setup}removexattrat {start} {path} {flags} suser.have{SEEN}"
    for args, path in product(BAD_ARGS, ("sfile", "smissing", "u")):
        yield f"setxattrat AT_FDCWD {path} 0 suser.new {args}{SEEN}"
        yield f"getxattrat AT_FDCWD {path} 0 suser.have {args}"


def everything() -> Iterator[str]:
    """All of them."""
    yield from _kinds()
    yield from _limits()
    yield from _at()
