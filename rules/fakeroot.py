"""Fakeroot: a program takes itself for root, and files have the owners that it gave them.

    notifyd run --user nobody --rules fakeroot -- sh -c 'chown 0:0 tree/* && tar -cf tree.tar tree'

chown(2) succeeds and is remembered, and devices are made as empty files. stat(2) tells what was
remembered, and root as the owner of everything else.

None of it is real: the program has the powers of its own user. What is remembered belongs to a
path, and is forgotten when notifyd ends. io_uring is refused.
"""

import errno
import platform

from notifyd import (
    Allow,
    Chmod,
    Chown,
    Deny,
    IoUring,
    Link,
    Mknod,
    Raw,
    RawCall,
    Rename,
    Return,
    SetGid,
    SetUid,
    Stat,
    Unlink,
    always,
    has,
    on,
)

GET_IDS = ["getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid"]
if platform.machine() == "x86_64":
    GET_IDS += [f"{name}32" for name in GET_IDS]  # the i386 entry has both

MAX_REMEMBERED = 1 << 20  # paths
S_IFCHR = 0o20000  # a block device has this bit too
S_IFREG = 0o100000
S_IFMT = 0o170000  # the bits of a mode that say what kind of file it is
RENAME_NOREPLACE = 1

remembered = {}  # by path: the members of struct stat that differ from the real ones

always(Deny(errno.EPERM), IoUring)


@on(SetUid, SetGid, Raw(*GET_IDS))
def who_it_is(call):
    """Root, whatever it does. A real root may give up its power."""
    if not isinstance(call, RawCall):
        return Allow() if call.process.uid == 0 else Return(0)
    if not call.syscall.startswith("getres"):
        return Return(0)
    has_16_bits = call.arch == "i386" and not call.syscall.endswith("32")
    root = bytes(2 if has_16_bits else 4)
    return Return(0, memory=dict.fromkeys(call.args[:3], root))


@on(Stat)
def tell_what_was_remembered(call):
    """What was not remembered belongs to root."""
    return Allow(**{"st_uid": 0, "st_gid": 0, **remembered.get(call.path, {})})


@on(Chown)
def remember_owner(call):
    """The real call changes nothing, but fails where a chown would. -1 leaves an id as it is."""
    ids = {"st_uid": call.uid, "st_gid": call.gid}
    given = {name: number for name, number in ids.items() if number >= 0}
    remember(call.path, {**remembered.get(call.path, {}), **given})
    return Allow(uid=-1, gid=-1)


@on(Mknod, mode=has(S_IFCHR))
def remember_device(call):
    """A device is made as an empty file with its permissions."""
    if not call.is_device:
        return Allow()
    remember(call.path, {"st_mode": call.mode, "st_rdev": call.device})
    return Allow(mode=S_IFREG | call.permissions)


@on(Chmod)
def remember_mode(call):
    """A device stays one, with other permissions. The mode of all else is the real one."""
    known = remembered.get(call.path, {})
    if "st_mode" in known:
        mode = (known["st_mode"] & S_IFMT) | (call.mode & 0o7777)
        remember(call.path, {**known, "st_mode": mode})
    return Allow()


def remember(path, members):
    """From now on stat(2) tells these members of a path."""
    if members and len(remembered) < MAX_REMEMBERED:
        remembered[path] = members


@on(Rename, Link, Unlink)
def move(call):
    """A name takes along what lies below. mv(1) tries NOREPLACE first, and again without."""
    old, *new = call.paths.values()
    stays = isinstance(call, Link) or (isinstance(call, Rename) and call.flags & RENAME_NOREPLACE)
    for path in [one for one in remembered if one.is_relative_to(old)]:
        members = remembered[path] if stays else remembered.pop(path)
        remembered.update({place / path.relative_to(old): members for place in new})
    return Allow()
