"""Who a process is: `SetUid`, `SetGid`, `SetCaps`."""

from __future__ import annotations

from struct import unpack
from typing import Any

from notifyd.policy.bound import BoundCall
from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum, Field, Id, Int
from notifyd.policy.names.limits import CAPABILITY_VERSIONS
from notifyd.policy.operations.layouts import narrow_ids, shorten
from notifyd.policy.sources import Mem, call

__all__ = ["SetCaps", "SetGid", "SetUid"]

NGROUPS_MAX = 65536  # linux/limits.h
_VERSION_1 = CAPABILITY_VERSIONS["_LINUX_CAPABILITY_VERSION_1"]


class SetUid(Call):
    """Change user ids: setuid(2), setreuid(2), setresuid(2), setfsuid(2).

    setuid gives `uid`: to a process with CAP_SETUID that is all three ids, to others the effective
    one. -1 leaves an id as it is. In a user namespace of its own, the numbers are the target's.
    """

    __slots__ = ()
    theme = "identity"

    uid = Id("setuid: the new id")
    ruid = Id("the new real id")
    euid = Id("the new effective id")
    suid = Id("the new saved id")
    fsuid = Id("setfsuid: the id that files are asked for with")

    variants = (
        *narrow_ids("setuid", ids={"uid": 0}),
        *narrow_ids("setreuid", ids={"ruid": 0, "euid": 1}),
        *narrow_ids("setresuid", ids={"ruid": 0, "euid": 1, "suid": 2}),
        *narrow_ids("setfsuid", ids={"fsuid": 0}),
        call("setuid32", uid=0),
        call("setreuid32", ruid=0, euid=1),
        call("setresuid32", ruid=0, euid=1, suid=2),
        call("setfsuid32", fsuid=0),
    )

    @property
    def wanted(self) -> frozenset[int]:
        """Every id that the call names, -1 left out."""
        return frozenset({self.uid, self.ruid, self.euid, self.suid, self.fsuid}) - {-1}


class Groups(Field[tuple[int, ...]]):
    """The vector of setgroups(2): 16-bit ids in i386's oldest form, 32-bit ones elsewhere."""

    memory = True
    kind = "list of ids"
    width = 64

    def decode(self, call: BoundCall, raw: int) -> tuple[int, ...]:
        values: Any = call
        count = min(values.count & 0xFFFFFFFF, NGROUPS_MAX)
        short = call.syscall == "setgroups" and call.arch == "i386"
        data = call.read(raw, count * (2 if short else 4)) if count else b""
        return unpack(f"<{count}{'H' if short else 'I'}", data)

    def render(self, call: BoundCall) -> Any:
        return shorten(self.__get__(call, type(call)))


class SetGid(Call):
    """Change group ids: setgid(2), setregid(2), setresgid(2), setfsgid(2), setgroups(2).

    Dropping a group can also give access: where a file denies its group what it grants to others.
    """

    __slots__ = ()
    theme = "identity"

    gid = Id("setgid: the new id")
    rgid = Id("the new real id")
    egid = Id("the new effective id")
    sgid = Id("the new saved id")
    fsgid = Id("setfsgid: the id that files are asked for with")
    count = Int("setgroups: how many groups", signed=True)
    groups = Groups("setgroups: the supplementary groups")

    variants = (
        *narrow_ids("setgid", ids={"gid": 0}),
        *narrow_ids("setregid", ids={"rgid": 0, "egid": 1}),
        *narrow_ids("setresgid", ids={"rgid": 0, "egid": 1, "sgid": 2}),
        *narrow_ids("setfsgid", ids={"fsgid": 0}),
        call("setgid32", gid=0),
        call("setregid32", rgid=0, egid=1),
        call("setresgid32", rgid=0, egid=1, sgid=2),
        call("setfsgid32", fsgid=0),
        call("setgroups", count=0, groups=1),
        call("setgroups32", count=0, groups=1),
    )

    @property
    def wanted(self) -> frozenset[int]:
        """Every id that the call names, -1 left out; looks at memory for setgroups."""
        ids = {self.gid, self.rgid, self.egid, self.sgid, self.fsgid, *self.groups}
        return frozenset(ids) - {-1}


class CapabilitySets(Field[tuple[int, int, int]]):
    """(effective, permitted, inheritable), each a mask of `1 << CAP_*`."""

    memory = True
    kind = "capabilities"
    width = 64

    def decode(self, call: BoundCall, raw: int) -> tuple[int, int, int]:
        values: Any = call
        if values.version == _VERSION_1:
            low: tuple[int, int, int] = unpack("<3I", call.read(raw, 12))
            return low
        # Since version 2 a set has 64 bits, the high halves in a second struct: capset(2).
        words = unpack("<6I", call.read(raw, 24))
        effective, permitted, inheritable = (words[at] | words[at + 3] << 32 for at in range(3))
        return effective, permitted, inheritable

    def render(self, call: BoundCall) -> Any:
        return [hex(mask) for mask in self.__get__(call, type(call))]


class SetCaps(Call):
    """Change one's own capabilities: capset(2), capabilities(7).

    The bounding set and the ambient set change by prctl(2): see `Prctl`.
    """

    __slots__ = ()
    theme = "identity"

    version = Enum(CAPABILITY_VERSIONS, "the layout of what follows")
    pid = Int("the thread; anything but itself or 0 is refused", signed=True)
    sets = CapabilitySets("(effective, permitted, inheritable), each a mask of `1 << CAP_*`")
    data = Address("where they lie")

    variants = (call("capset", version=Mem(0, 0, 4), pid=Mem(0, 4, 4), sets=1, data=1),)

    @property
    def effective(self) -> int:
        """The new effective set, a mask of `1 << CAP_*`."""
        return self.sets[0]

    @property
    def permitted(self) -> int:
        """The new permitted set."""
        return self.sets[1]

    @property
    def inheritable(self) -> int:
        """The new inheritable set."""
        return self.sets[2]
