"""Making calls from values: what comes out is what was put in, by way of registers and memory."""

import socket
from pathlib import PurePosixPath
from stat import S_IFBLK

import pytest

from notifyd import (
    Bind,
    Connect,
    Exec,
    Mknod,
    Open,
    Raw,
    SendTo,
    SetCaps,
    SetGid,
    SetXattr,
    Socket,
    Stat,
    Truncate,
)
from notifyd.errors import StaleCall, TargetFault
from notifyd.kernel.arch import ARCHES
from notifyd.kernel.socket import parse_sockaddr
from notifyd.policy.operations import OPERATIONS
from notifyd.testing import FakeProcess, FakeTarget, call_from_registers, make_call

LINES = [
    (name, variant.syscall, arch.name)
    for name, operation in OPERATIONS.items()
    for arch in ARCHES.values()
    for variant in operation.variants
    if variant.syscall in arch.numbers and variant.arch in (None, arch.name) and not variant.when
]


@pytest.mark.parametrize(("operation", "syscall", "arch"), LINES)
def test_every_call_can_be_made_and_shown(operation, syscall, arch):
    """With nothing given, arguments have their defaults and events can show them."""
    call = make_call(OPERATIONS[operation], syscall=syscall, arch=arch)
    assert (call.operation, call.syscall, call.arch) == (operation, syscall, arch)
    assert isinstance(call.describe(), dict)
    assert not call.looked


@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64"])
@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Mknod, {"mode": S_IFBLK | 0o600, "device": (8, 0x12345)}),
        (Open, {"pathname": b"/etc/passwd", "flags": 0o1101, "mode": 0o644}),
        (Open, {"pathname": b"x", "flags": 1, "mode": 2, "resolve_flags": 8, "dirfd": 5}),
        (Exec, {"pathname": b"/bin/sh", "argv": (b"sh", b"", b"\xff"), "envp": ()}),
        (SetGid, {"groups": (0, 5, 1000)}),
        (SetCaps, {"sets": (1 << 40, 3, 0), "pid": 7}),
        (Socket, {"family": 2, "type": 1, "protocol": -1}),
        (Truncate, {"pathname": b"/f", "size": -1}),
    ],
)
def test_values_come_back(operation, fields, arch):
    """Whatever call and architecture carry them."""
    call = make_call(operation, arch=arch, **fields)
    assert {name: getattr(call, name) for name in fields} == fields


def test_memory_counts_as_looked_at():
    """As for a real call: registers are free, memory is not."""
    call = make_call(Open, path="/etc/passwd", flags=1)
    assert call.writes
    assert not call.looked
    assert call.path == PurePosixPath("/etc/passwd")
    assert call.looked


def test_paths():
    """A path is laid down as the text; relative ones start where the target is, links are known."""
    assert make_call(Open, path="x").path == PurePosixPath("/home/user/x")
    process = FakeProcess(cwd=PurePosixPath("/srv"))
    assert make_call(Open, pathname="../x", process=process).path == PurePosixPath("/x")
    linked = make_call(Open, path="/run/x", links={"/run": "/var/run", "/var/run/x": "/etc/y"})
    assert linked.path == PurePosixPath("/etc/y")
    below = make_call(Open, path="x", dirfd=7, directories={7: "/opened"})
    assert below.path == PurePosixPath("/opened/x")
    opened = make_call(Stat, fd=3, dirfd=3, directories={3: "/opened/file"})
    assert (opened.syscall, opened.path) == ("fstat", PurePosixPath("/opened/file"))


def test_a_missing_pointer_is_null():
    """A rule that reads it gets what the kernel would give."""
    with pytest.raises(TargetFault):
        make_call(Open).pathname  # noqa: B018


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1:80",
        "[2001:db8::1]:443",
        "unix:/run/x",
        "unix:@abstract",
        "netlink:0",
    ],
)
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_socket_addresses(text, arch):
    """As events show them; the size is what the bytes have."""
    call = make_call(Connect, address=text, arch=arch)
    assert str(call.address) == text
    assert call.addrlen == len(call.address.raw)
    assert make_call(Bind, address=call.address).address == call.address


def test_a_size_that_is_given_is_kept():
    """A target may lie about it."""
    call = make_call(Connect, address="192.0.2.1:80", addrlen=4)
    assert call.address == parse_sockaddr(b"\x02\x00\x00\x50")


def test_destinations():
    """One address makes a sendto, several a sendmmsg; sendmsg when asked for."""
    assert make_call(SendTo, address="192.0.2.1:1").syscall == "sendto"
    several = make_call(SendTo, addresses=("192.0.2.1:1", None, "[::1]:2"))
    assert several.syscall == "sendmmsg"
    assert [one and str(one) for one in several.addresses] == ["192.0.2.1:1", None, "[::1]:2"]
    for syscall in ("sendmsg", "socketcall"):
        one = make_call(SendTo, address="unix:@x", syscall=syscall, arch="i386")
        assert (one.syscall, str(one.address)) == (syscall, "unix:@x")


def test_values_behind_pointers_of_structs():
    """Setxattrat keeps the value's address in a struct."""
    call = make_call(SetXattr, path="/f", name="user.a", value="text", syscall="setxattrat")
    assert (call.name, call.value, call.size) == (b"user.a", b"text", 4)


@pytest.mark.parametrize(
    ("operation", "fields", "text"),
    [
        (Open, {"flag": 1}, "Open has no field 'flag'; it has dirfd"),
        (Open, {"flags": "O_RDONLY"}, "give a number"),
        (Open, {"flags": 1 << 40}, "does not fit"),
        (Open, {"path": 3}, "is no text"),
        (Connect, {"address": "localhost:80"}, "is no socket address"),
        (Connect, {"address": "192.0.2.1"}, "is no socket address"),
        (Connect, {"address": 80}, "is no socket address"),
        (Open, {"syscall": "stat"}, "has no system call stat"),
        (Open, {"syscall": "creat", "flags": 0}, "no system call of Open"),
        (Open, {"arch": "vax"}, "no architecture 'vax'"),
    ],
)
def test_mistakes_are_named(operation, fields, text):
    """A test that makes an impossible call is wrong."""
    with pytest.raises(TypeError, match=text):
        make_call(operation, **fields)


def test_calls_from_registers():
    """For what no operation models, and for lies."""
    call = call_from_registers(Raw("sysinfo"), "sysinfo", -1, arch="i386")
    assert (call.arg0, call.arg1, call.word_size) == (0xFFFFFFFF, 0, 4)
    target = FakeTarget({0x1000: b"/x\0"})
    call = call_from_registers(Open, "openat", -100, 0x1000, target=target)
    assert call.path == PurePosixPath("/x")
    assert target.resolved == [(-100, b"/x", True)]
    with pytest.raises(LookupError):
        call_from_registers(Open, "sysinfo")


def test_who_calls():
    """Process and workload are as they were given."""
    call = make_call(Open, process=FakeProcess(pid=7, uid=0), workload="web-1")
    assert (call.process.pid, call.process.uid, call.workload) == (7, 0, "web-1")
    call.close()
    with pytest.raises(StaleCall):
        call.process  # noqa: B018


def test_socket_types_carry_their_flags():
    """As socket(2) has them in one argument."""
    call = make_call(Socket, family=1, type=socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    assert (call.type, call.flags) == (socket.SOCK_STREAM, socket.SOCK_CLOEXEC)
