"""Calls with rubbish in the upper halves of their registers: decided, told and performed the same.

64-bit code that enters by int 0x80 keeps what is above the 32 bits that count there, and on the
64-bit entry whoever calls fills the upper half of an int as they like.
"""

import errno
import os

import pytest

from notifyd.kernel.arch import ARCHES, native

HIGHS = ("0", "1", "ffffffff", "dead0000")
EACCES = str(-errno.EACCES)
ENTRIES = {"int80": "i386", "syscall": "x86_64"}

RULES = """
no = Deny(errno.EACCES)

always(no, Ptrace, request=16)                # a number of 64 bits
always(no, Prctl, option=8, arg2=1)           # of 32 and of 64
always(no, Unshare, flags=has(0x04000000))    # flags of 64 bits
always(no, Ioctl, request=0x5412, fd=99)      # of 32, and a descriptor
always(no, ProcessVm, advice=4, flags=0)      # as wide as the call has them
always(no, Raw("setpriority"), arg1=-2)       # bare registers
always(no, Raw("socketcall"), arg0=14)
always(no, Raw("setregid"), arg0=4242)

@on(Signal, signal=0, pid=-4242)
@on(Chmod, fd=99, mode=0o600)
@on(Socket, family=2)
def by_condition(call):
    return no

@on(SetUid)
def ids(call):
    return no if call.uid == 4242 else None

@on(SetHostname, size=4)
def lengths(call):
    return no if call.name == b"evil" else None

@on(Truncate)
def sizes(call):
    return no if call.size == 0x100000007 else Allow()

@on(Open)
def structs(call):
    return no if call.path.name == "no" and not call.writes else Allow()

@on(Raw("setsockopt"))
def levels(call):
    return no if (call.arg1, call.arg2) == (0, 4) else None

@on(Exec)
def vectors(call):
    return no if b"no" in call.argv else Allow()

@on(SetXattr)
def values(call):
    return Allow() if call.value == b"value" else no

@on(Mkdir)
def paths(call):
    return Allow(mode=0o750)

@on(Uname)
def answers(call):
    return Return(0, memory={call.buffer: b"ours" + bytes(1)})
"""

HOW = bytes(24).hex()  # struct open_how
# What is called, and with what; an int as 5 and a long as l5: programs/halves.c.
REFUSED = {
    "ptrace": "l16 0 l0 l0",
    "prctl": "8 l1 l0 l0 l0",
    "unshare": "l0x04000000",
    "ioctl": "99 0x5412 l0",
    "process_madvise": "99 w:0,0 l1 4 0",
    "setpriority": "0 -2 0",
    "kill": "-4242 0",
    "fchmod": "99 0600",
    "setdomainname": "s:evil 4",
    "openat": "-100 s:no 0 0",
    "openat2": f"-100 s:no d:{HOW} l24",
    "setsockopt": "99 0 4 l0 0",
    "execve": "s:/bin/there-is-none w:'a,'no,0 l0",
}
ONLY = {
    "int80": {
        "socketcall": ("14 w:99,0,4,0,0", "1 w:2,1,0"),
        "setregid": ("l0x51092 l0xffff",),  # 4242 in the 16 bits that count
        "setuid": ("l0x51092",),
        "truncate64": ("s:file 7 1",),
    },
    "syscall": {
        "socket": ("2 1 0",),
        "setregid": ("4242 -1",),
        "setuid": ("4242",),
        "truncate": ("s:file l0x100000007",),
    },
}
DONE = [
    ("mkdirat", "-100 s:made 0700"),
    ("truncate", "s:file l5"),
    ("openat", "-100 s:file 01 0"),
    ("setxattr", "s:file s:user.some s:value l5 0"),
    ("uname", "b:"),
    ("execve", "s:/bin/echo w:'echo,'ran,0 l0"),
]


def refused(entry: str) -> list[tuple[str, str]]:
    """Each call that the rules refuse; those come last that would take the process's rights."""
    more = [(name, args) for name, several in ONLY[entry].items() for args in several]
    both = [*REFUSED.items(), *more]
    return sorted(both, key=lambda call: call[0].startswith("set"))


def typed(entry: str, calls: list[tuple[str, str]]) -> str:
    """The calls as the program reads them."""
    numbers = next(arch.numbers for arch in ARCHES.values() if arch.name == ENTRIES[entry])
    return "".join(f"{numbers[name]} {args}\n" for name, args in calls)


@pytest.fixture
def folder(here):
    """Makes folders with a file; each run begins in another."""
    count = iter(range(100))

    def make():
        made = here / str(next(count))
        made.mkdir()
        (made / "file").write_bytes(b"0123456789")
        return made

    return make


ON_X86 = pytest.mark.skipif(native().name != "x86_64", reason="int 0x80 is an entry of x86-64")
pytestmark = [ON_X86, pytest.mark.root]
APART = ("unshare", "-u")  # a domain name of its own to change


@pytest.mark.parametrize("entry", ENTRIES)
def test_refusals(build, run, native, rule, folder, entry):
    """The rules refuse with any upper half what natively is the same call with all of them."""
    program, rules, calls = build("halves"), rule(RULES), refused(entry)
    text, where = typed(entry, calls), folder()
    alone, told = set(), set()
    for high in HIGHS:
        command = (program, entry, high)
        alone.add(native(*APART, *command, input=text, cwd=where).out)
        ran = run("--rules", rules, "--", *command, text=text, before=APART, cwd=where)
        got = [(*call, line.strip()) for call, line in zip(calls, ran.lines, strict=True)]
        assert got == [(*call, EACCES) for call in calls], high
        told.add("\n".join(map(str, events(ran, entry))))
    (natively,) = alone
    assert EACCES not in natively
    assert len(told) == 1
    assert "dead" not in told.pop()


def events(ran, entry: str) -> list[tuple[object, ...]]:
    """What is told of the program's calls; a bare one of the 64-bit entry shows what it held."""
    return [
        (one["syscall"], one["args"], one["verdict"], one["how"], one.get("errno"))
        for one in ran.calls
        if "halves" not in str(one["args"]) and (one["operation"] != "Raw" or entry == "int80")
    ]


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_done(build, run, native, rule, folder, entry):
    """What is performed and answered is what is meant by the low halves, and so is the record."""
    program, rules = build("halves"), rule(RULES)
    halved = [("truncate64", "s:file 5 0")] if entry == "int80" else []  # a size in two registers
    calls = [*halved, *DONE]
    text, done = typed(entry, calls), ["0"] * (len(calls) - 1)
    for high in HIGHS:
        command, alone, ruled = (program, entry, high), folder(), folder()
        natively = native(*command, input=text, cwd=alone)
        assert [line.split()[0] for line in natively.lines] == [*done, "ran"]
        ran = run("--rules", rules, "--", *command, text=text, cwd=ruled)
        assert [line.split()[0] for line in ran.lines] == [*done, "ran"]
        assert ran.lines[-2] == "0 ours"
        made = [(one / "made").stat().st_mode & 0o777 for one in (alone, ruled)]
        assert made == [0o700, 0o750]
        assert [(one / "file").stat().st_size for one in (alone, ruled)] == [5, 5]
        assert {os.getxattr(one / "file", "user.some") for one in (alone, ruled)} == {b"value"}
        (mkdir,) = ran.of("Mkdir")
        assert (mkdir["args"]["dirfd"], mkdir["args"]["mode"]) == ("AT_FDCWD", "0700")
        (uname,) = ran.of("Uname")
        assert int(uname["args"]["buffer"], 16) < 1 << 32
