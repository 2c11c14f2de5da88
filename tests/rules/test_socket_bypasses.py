"""What brings a socket from elsewhere is refused by every rule file about sockets."""

import errno
import json
import socket
import subprocess
from contextlib import contextmanager

import pytest

from notifyd import (
    ROUTING_OPTIONS,
    SOCKET_BYPASSES,
    TYPING_REQUESTS,
    Allow,
    Deny,
    Ioctl,
    SendTo,
    SetSockOpt,
    Socket,
)
from notifyd.kernel.arch import entries, native
from notifyd.testing import call_from_registers, load_rules, make_call, verdict_of

CONNECTING = ["connect-allowlist", "ask-connect"]
RULES = ["no-network", *CONNECTING]
MPTCP, SCTP, L2TP, SMC = 262, 132, 115, 256
GARBAGE = 0xDEAD << 32
GROUP = "nogroup"

# Natively each gives something else than EPERM, to root at least.
WAYS = """
NUMBERS, other, fd = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
DNS = b"dns_resolver", b"localhost", b"", 0

def call(name, *args):
    return syscall(NUMBERS[name], *args)

def take():
    taken = socket.socket(fileno=call("pidfd_getfd", os.pidfd_open(other), fd, 0))
    return taken.send(b"taken")

def write():
    "Into the other's memory: the word where it keeps nothing."
    word = ctypes.create_string_buffer(b"written", 8)
    pieces = struct.pack("=QQ", ctypes.addressof(word), 8), struct.pack("=QQ", int(sys.argv[4]), 8)
    return call("process_vm_writev", other, pieces[0], 1, pieces[1], 1, 0)

def trace():
    call("ptrace", 0x4206, other, 0, 0)
    return "seized"

def type_into():
    master, slave = os.openpty()
    if libc.ioctl(slave, ctypes.c_ulong(0x5412), b"x") < 0:
        raise OSError(ctypes.get_errno(), "")

def join():
    return call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)

attempt("take", take)
attempt("write", write)
attempt("trace", trace)
attempt("type", type_into)
attempt("join", join)
attempt("io_uring", call, "io_uring_setup", 1, bytes(120))
attempt("bpf", call, "bpf", 0, struct.pack("=IIII112x", 2, 4, 4, 1), 128)
attempt("ask for a name", call, "request_key", *DNS)
"""
HOLD = """
import ctypes, socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", int(sys.argv[1])))
word = ctypes.create_string_buffer(8)
print(udp.fileno(), ctypes.addressof(word), flush=True)
time.sleep(100)
"""


@contextmanager
def other_process(receiver, user):
    """A process of the same user with a connected socket: its pid, descriptor and a word of it."""
    port = str(receiver.getsockname()[1])
    words = ["/usr/bin/python3", "-I", "-c", HOLD, port]
    whose = {"user": user, "group": GROUP if user else None}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **whose) as other:
        try:
            fd, word = other.stdout.readline().split()
            yield str(other.pid), fd, word
        finally:
            other.kill()


@pytest.fixture
def receiver():
    """Where the other process's socket leads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


@pytest.mark.parametrize("rules", RULES)
def test_no_socket_comes_from_elsewhere(python, receiver, user, rules):
    """Neither out of another process of the user, nor by making it act, nor from the kernel."""
    with other_process(receiver, user) as other:
        ran = python([rules], WAYS, json.dumps(dict(native().numbers)), *other, user=user)
    assert ran.status == 0, ran.err
    assert set(ran.found.values()) == {"EPERM"}
    assert len(ran.found) == 8
    # What asks keeps its record of answers to itself, and so is told of opens for writing.
    assert [call for call in ran.calls if call["operation"] != "Open"] == []
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(99)


def test_natively_a_socket_is_taken(natively, receiver, user):
    """So the test above shows something: as any user, and as root all of them."""
    with other_process(receiver, user) as other:
        found = natively(WAYS, json.dumps(dict(native().numbers)), *other, user=user)
    assert receiver.recv(99) == b"taken"
    assert (found["take"], found["write"], found["trace"]) == (5, 8, "seized")
    assert found["ask for a name"] != "EPERM"
    assert user or found["join"] == 0


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("arch", [one.name for one in entries(native())])
def test_by_every_entry(rules, arch):
    """Each call of the group, whatever is in its registers."""
    loaded, entry = load_rules(rules), next(one for one in entries(native()) if one.name == arch)
    tried = 0
    for operation in SOCKET_BYPASSES:
        for variant in operation.variants:
            if variant.syscall in entry.numbers and variant.arch in (None, arch):
                call = call_from_registers(operation, variant.syscall, *[7] * 6, arch=arch)
                assert verdict_of(loaded, call) == Deny(errno.EPERM), variant.syscall
                tried += 1
    assert tried >= 10
    for request in TYPING_REQUESTS:
        call = make_call(Ioctl, fd=0, request=request, arch=arch)
        assert verdict_of(loaded, call) == Deny(errno.EPERM)


# -- packets that go elsewhere than the address says


@pytest.mark.parametrize("rules", CONNECTING)
def test_ways_of_ones_own_are_refused(rules):
    """Every option by which an address means another machine, also with rubbish beside the bits."""
    loaded = load_rules(rules)
    for level, options in ROUTING_OPTIONS.items():
        for option in options:
            for upper in (0, GARBAGE):
                registers = 3, level | upper, option | upper, 0x1000, 4
                call = call_from_registers(SetSockOpt, "setsockopt", *registers)
                assert verdict_of(loaded, call) == Deny(errno.EACCES), (level, option)
    plain = make_call(SetSockOpt, level=socket.SOL_SOCKET, option=socket.SO_REUSEADDR)
    assert verdict_of(loaded, plain) == Allow()
    old = call_from_registers(SetSockOpt, "socketcall", 14, 0x1000, arch="i386")
    assert verdict_of(loaded, old) == Deny(errno.EACCES)


@pytest.mark.parametrize("rules", CONNECTING)
@pytest.mark.parametrize("syscall", ["sendto", "sendmsg", "sendmmsg"])
def test_nothing_is_sent_past_the_routes(rules, syscall):
    """With MSG_DONTROUTE an allowed address is that of a neighbour."""
    loaded = load_rules(rules, to="127.0.0.1")
    for flags, refused in ((0, False), (socket.MSG_DONTROUTE, True)):
        to = ("127.0.0.1:1",)
        call = make_call(SendTo, syscall=syscall, addresses=to, flags=flags)
        assert isinstance(verdict_of(loaded, call), Deny) == refused


@pytest.mark.parametrize("rules", CONNECTING)
@pytest.mark.parametrize("protocol", [MPTCP, SCTP, L2TP, SMC])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_protocols_that_connect_by_themselves(rules, protocol, kind):
    """The peer of MPTCP names further addresses, and the kernel connects to them."""
    call = make_call(Socket, family=socket.AF_INET6, type=kind, protocol=protocol)
    assert verdict_of(load_rules(rules), call) == Deny(errno.EACCES)


OPTIONS = """
tcp, udp = socket.socket(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
route = bytes([131, 7, 4, 192, 0, 2, 1, 0])
header = struct.pack("=BBBB4x", 0, 2, 2, 1) + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
control = struct.pack("=Qii", 16 + len(header), 41, 57) + header
label = socket.inet_pton(socket.AF_INET6, "::1")
label += struct.pack("!I", 0x12345) + struct.pack("=BBHHHI", 0, 255, 1, 0, 0, 0)
attempt("source route", tcp.setsockopt, 0, 4, route)
attempt("routing header", udp.setsockopt, 41, 57, header)
attempt("control data", udp.setsockopt, 41, 6, control)
attempt("flow label", udp.setsockopt, 41, 32, label)
attempt("flow label with a header", udp.setsockopt, 41, 32, label + control)
attempt("interface", tcp.setsockopt, 1, 25, b"lo")
attempt("neighbours", udp.setsockopt, 1, 5, 1)
attempt("interface of packets", udp.setsockopt, 41, 50, bytes(16) + struct.pack("=I", 1))
attempt("mptcp", socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262)
attempt("plain", tcp.setsockopt, 6, 1, 1)
"""


@pytest.mark.parametrize("rules", CONNECTING)
def test_no_packet_leaves_by_another_way(python, rules):
    """In the kernel: no call leaves it for an option."""
    ran = python([rules], OPTIONS)
    assert ran.status == 0, ran.err
    found = ran.found
    assert found.pop("plain") == "done"
    assert set(found.values()) == {"EACCES"}
    assert ran.calls == []


def test_natively_other_ways_are_taken(natively):
    """So the test above shows something."""
    found = natively(OPTIONS)
    taken = {"source route", "flow label", "interface", "neighbours", "interface of packets"}
    assert {name for name in taken if found[name] != "done"} == set()
    assert "EACCES" not in found.values()
