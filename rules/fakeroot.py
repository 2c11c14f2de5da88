"""Fakeroot: a program takes itself for root, and files have the owners that it gave them.

    notifyd run --rules fakeroot -- sh -c 'chown root:root tree/* && tar -cf tree.tar tree'

Asked who it is, the program is told root; changes of user change nothing; chown(2) succeeds and is
remembered, and devices are made as empty files. stat(2) tells what was remembered, and root for all
else. Nothing of it is real: the program has the powers of its own user. What is remembered belongs
to the path, moves with it, and is forgotten when notifyd ends. io_uring is refused.
"""

import errno
import os
import platform

from notifyd import Allow, Chmod, Chown, Deny, IoUring, Link, Mknod, Raw, Rename, Return, SetGid
from notifyd import SetUid, Stat, Unlink, always, has, on

IDS = ["getuid", "geteuid", "getgid", "getegid"]
WIDE = [f"{one}32" for one in IDS] if platform.machine() == "x86_64" else []
MOST, KIND, REGULAR, NOREPLACE = 1 << 20, 0o170000, 0o100000, 1

known = {}  # by path, what stat(2) is to say of it
always(Deny(errno.EPERM), IoUring)


@on(SetUid, SetGid, Raw(*IDS, *WIDE))
def who_it_is(call):
    """Root, whatever it does; getresuid(2) has an answer in memory."""
    return Return(0)


@on(Raw("getresuid", "getresgid"))
def all_three(call):
    """Real, effective and saved."""
    size = 2 if call.arch == "i386" else 4
    return Return(0, memory={address: bytes(size) for address in call.args[:3]})


@on(Stat)
def stat(call):
    """What was remembered."""
    return Allow(**{"st_uid": 0, "st_gid": 0, **known.get(call.path, {})})


@on(Chown, Chmod)
@on(Mknod, mode=has(0o20000))
def remember(call):
    """What the user may do is done: a chown that changes nothing, a file for a device."""
    if len(known) >= MOST:
        return Deny(errno.ENOMEM, reason="too many files to remember")
    kept, changes = known.setdefault(call.path, {}), {}
    if isinstance(call, Chown):
        kept |= {name: one for name, one in (("st_uid", call.uid), ("st_gid", call.gid)) if one >= 0}
        changes = {"uid": -1, "gid": -1}
    elif isinstance(call, Mknod):
        kept |= {"st_mode": call.mode, "st_rdev": os.makedev(*call.device)}
        changes = {"mode": REGULAR | call.permissions}
    elif "st_mode" in kept:
        kept["st_mode"] = kept["st_mode"] & KIND | call.mode & 0o7777
    return Allow(**changes)


@on(Rename, Link, Unlink)
def move(call):
    """A new name is told the same of, as are the names below it; what is unlinked is forgotten."""
    old, *new = call.paths.values()
    for path in [one for one in known if one == old or old in one.parents]:
        # mv(1) tries with NOREPLACE first, and again without.
        keeps = isinstance(call, Link) or (isinstance(call, Rename) and call.flags & NOREPLACE)
        kept = dict(known[path]) if keeps else known.pop(path)
        if new:
            known[new[0] / path.relative_to(old)] = kept
    return Allow()
