"""Fakeroot: a program takes itself for root, and files have the owners that it gave them.

    notifyd run --user nobody --rules fakeroot -- sh -c 'chown 0:0 tree/* && tar -cf tree.tar tree'

chown(2) succeeds and is remembered, devices are made as empty files, stat(2) tells what was
remembered, and root for all else. None of it is real: the program has its own user's powers. What
is remembered belongs to a path, and is forgotten when notifyd ends. io_uring is refused.
"""

import errno
import platform

import notifyd as n
from notifyd import Allow, Chown, Link, Mknod, Raw, Rename, Return, always, has, on

IDS = ["getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid"]
IDS += [f"{one}32" for one in IDS] if platform.machine() == "x86_64" else []
MOST, KIND, REGULAR, NOREPLACE = 1 << 20, 0o170000, 0o100000, 1
known = {}  # by path, what stat(2) is to say of it: at most MOST of them
always(n.Deny(errno.EPERM), n.IoUring)


@on(n.SetUid, n.SetGid, Raw(*IDS))
def who_it_is(call):
    """Root, whatever it does. A real root may give up its power."""
    if not isinstance(call, n.RawCall):
        return Allow() if call.process.uid == 0 else Return(0)
    size = 2 if call.arch == "i386" and not call.syscall.endswith("32") else 4
    three = call.args[:3] if call.syscall.startswith("getres") else ()
    return Return(0, memory={one: bytes(size) for one in three})


@on(n.Stat, Chown, n.Chmod)
@on(Mknod, mode=has(0o20000))
def remember(call):
    """What the user may do is done: a chown that changes nothing, a file for a device."""
    kept, changes = known.get(call.path, {}), {}
    if isinstance(call, n.Stat):
        return Allow(**{"st_uid": 0, "st_gid": 0, **kept})
    if isinstance(call, Chown):
        new = {"st_uid": call.uid, "st_gid": call.gid}
        kept, changes = {**kept, **{k: v for k, v in new.items() if v >= 0}}, {"uid": -1, "gid": -1}
    elif isinstance(call, Mknod) and call.is_device:
        kept = {"st_mode": call.mode, "st_rdev": call.device}
        changes = {"mode": REGULAR | call.permissions}
    elif "st_mode" in kept:
        kept = {**kept, "st_mode": kept["st_mode"] & KIND | call.mode & 0o7777}
    known.update({call.path: kept} if kept and len(known) < MOST else {})
    return Allow(**changes)


@on(Rename, Link, n.Unlink)
def move(call):
    """A name takes along what lies below. mv(1) tries NOREPLACE first, and again without."""
    old, *new = call.paths.values()
    stays = isinstance(call, Link) or (isinstance(call, Rename) and call.flags & NOREPLACE)
    for path in [one for one in known if one.is_relative_to(old)]:
        kept = known[path] if stays else known.pop(path)
        known.update({place / path.relative_to(old): kept for place in new})
    return Allow()
