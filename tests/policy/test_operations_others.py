"""Operations on sockets, processes, identity and the system, decoded from memory of a dict."""

from __future__ import annotations

import os
import signal
import socket
from ipaddress import ip_address
from pathlib import PurePosixPath
from struct import pack

import pytest

from notifyd.policy.operations import Connect, SchedSetScheduler, Socket

CLONE_NEWUSER = 0x10000000
CLONE_NEWTIME = 0x80


def inet(host: str, port: int) -> bytes:
    return pack("=H", socket.AF_INET) + pack("!H", port) + socket.inet_aton(host) + bytes(8)


def words(*values: int) -> bytes:
    return pack(f"<{len(values)}I", *values)


# -- sockets


def test_a_socket_type_comes_without_its_flags(stopped):
    """A condition on the type holds with and without SOCK_CLOEXEC."""
    call = stopped("Socket", "socket", socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 17)
    assert (call.family, call.type, call.flags) == (2, socket.SOCK_RAW, socket.SOCK_CLOEXEC)
    assert Socket.type.render(call) == "SOCK_RAW|SOCK_CLOEXEC"
    assert Socket.family.render(call) == "AF_INET"
    assert Socket.protocol.render(call) == "IPPROTO_UDP"


def test_a_protocol_is_named_by_its_family(stopped):
    """16 is one thing to AF_NETLINK, and only a number to AF_PACKET."""
    names = [
        Socket.protocol.render(stopped("Socket", "socket", family, socket.SOCK_RAW, 16))
        for family in (socket.AF_NETLINK, socket.AF_PACKET)
    ]
    assert names == ["NETLINK_GENERIC", 16]


def test_socketcall_keeps_its_arguments_in_memory(stopped, memory_of):
    """On i386 socket(2) may come as socketcall(2): four bytes an argument, each read once."""
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    memory = {0x1000: words(socket.AF_INET6, kind, 6)}
    call = stopped("Socket", "socketcall", 1, 0x1000, arch="i386", memory=memory)
    assert (call.family, call.type, call.protocol) == (10, socket.SOCK_STREAM, 6)
    memory_of(call).memory[0x1000] = words(0, 0, 0)
    assert call.flags == socket.SOCK_NONBLOCK
    assert call.looked


def test_socketpair_is_a_pair(stopped):
    """A pair is connected to itself: rules may let it be."""
    call = stopped("Socket", "socketpair", socket.AF_UNIX, socket.SOCK_STREAM, 0, 0x1000)
    assert call.is_pair
    assert not stopped("Socket", "socket", socket.AF_UNIX, socket.SOCK_STREAM).is_pair


@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64"])
def test_connect_reads_the_address(stopped, arch):
    """The address is copied and taken apart."""
    memory = {0x1000: inet("192.0.2.1", 443)}
    call = stopped("Connect", "connect", 3, 0x1000, 16, arch=arch, memory=memory)
    assert (call.address.host, call.address.port) == (ip_address("192.0.2.1"), 443)
    assert Connect.address.render(call) == "192.0.2.1:443"


def test_connect_by_socketcall(stopped):
    """The array holds a pointer to the address."""
    memory = {0x1000: words(3, 0x2000, 16), 0x2000: inet("192.0.2.1", 80)}
    call = stopped("Connect", "socketcall", 3, 0x1000, arch="i386", memory=memory)
    assert (call.fd, call.address.port) == (3, 80)


def test_sendto_without_an_address_looks_at_nothing(stopped):
    """A null pointer in the register says it all: the kernel may go on."""
    call = stopped("SendTo", "sendto", 3, 0x1000, 100, 0x4000, 0, 0)
    assert call.address is None
    assert (call.size, call.data_address) == (100, 0x1000)
    assert type(call).flags.render(call) == "MSG_NOSIGNAL"
    assert not call.looked


def test_sendto_with_an_address(stopped):
    """The destination is read once and stays."""
    memory = {0x2000: inet("192.0.2.7", 53)}
    call = stopped("SendTo", "sendto", 3, 0x1000, 100, 0, 0x2000, 16, memory=memory)
    assert call.address.port == 53
    assert call.addresses == (call.address,)


@pytest.mark.parametrize(
    ("arch", "header"),
    [
        ("x86_64", pack("<QI4xQQQQI4x", 0x2000, 16, 0x3000, 1, 0x4000, 24, 0)),
        ("i386", words(0x2000, 16, 0x3000, 1, 0x4000, 24, 0)),
    ],
)
def test_sendmsg_reads_its_header(stopped, memory_of, arch, header):
    """A struct msghdr is laid out by the width of a pointer, and read in one piece, once."""
    memory = {0x1000: header, 0x2000: inet("192.0.2.7", 53)}
    call = stopped("SendTo", "sendmsg", 3, 0x1000, 0, arch=arch, memory=memory)
    assert call.address.port == 53
    assert call.carries_control
    (copied,) = call.headers
    assert (copied.iov, copied.iovlen, copied.controllen) == (0x3000, 1, 24)
    assert call.message == 0x1000
    assert memory_of(call).reads == [(0x1000, len(header)), (0x2000, 16)]


def test_sendmmsg_has_a_destination_each(stopped):
    """One call may send to many places; asking for *the* address of two raises."""
    header = "<QI4xQQQQI4xI4x"
    vector = pack(header, 0x2000, 16, 0, 0, 0, 0, 0, 0) + pack(header, 0x2100, 16, 0, 0, 0, 0, 0, 0)
    memory = {0x1000: vector, 0x2000: inet("192.0.2.7", 53), 0x2100: inet("192.0.2.8", 53)}
    call = stopped("SendTo", "sendmmsg", 3, 0x1000, 2, 0, memory=memory)
    assert [str(one) for one in call.addresses] == ["192.0.2.7:53", "192.0.2.8:53"]
    with pytest.raises(ValueError, match="addresses"):
        call.address  # noqa: B018
    one = stopped("SendTo", "sendmmsg", 3, 0x1000, 1, 0, memory=memory)
    assert str(one.address) == "192.0.2.7:53"


def test_sendmmsg_of_i386(stopped):
    """The 32-bit struct mmsghdr is half as long; socketcall keeps even its count in memory."""
    vector = words(0x2000, 16, 0, 0, 0, 0, 0, 0) + words(0, 0, 0, 0, 0, 0, 0, 0)
    memory = {0x500: words(3, 0x1000, 2, 0), 0x1000: vector, 0x2000: inet("192.0.2.7", 53)}
    for call in (
        stopped("SendTo", "sendmmsg", 3, 0x1000, 2, 0, arch="i386", memory=memory),
        stopped("SendTo", "socketcall", 20, 0x500, arch="i386", memory=memory),
    ):
        assert [one and one.port for one in call.addresses] == [53, None]
        assert not call.carries_control


def test_sendmmsg_of_nothing(stopped):
    """A count of 0 reads nothing, and goes nowhere."""
    call = stopped("SendTo", "sendmmsg", 3, 0x1000, 0, 0)
    assert (call.addresses, call.address) == ((), None)


def test_accept_flags(stopped):
    """accept4 by socketcall has its flags in the fourth word."""
    memory = {0x1000: words(3, 0x2000, 0x3000, socket.SOCK_CLOEXEC)}
    call = stopped("Accept", "socketcall", 18, 0x1000, arch="i386", memory=memory)
    assert (call.fd, call.buffer, call.flags) == (3, 0x2000, socket.SOCK_CLOEXEC)


# -- processes


def test_clone_has_a_signal_in_its_low_byte(stopped):
    """What would be CLONE_NEWTIME to unshare is part of the signal to clone."""
    call = stopped("Clone", "clone", CLONE_NEWUSER | signal.SIGCHLD)
    assert call.namespaces == CLONE_NEWUSER
    assert type(call).flags.render(call) == "SIGCHLD|CLONE_NEWUSER"
    assert stopped("Clone", "clone", CLONE_NEWTIME).namespaces == 0
    assert stopped("Unshare", "unshare", CLONE_NEWTIME).namespaces == CLONE_NEWTIME


def test_clone3_has_its_flags_in_memory(stopped):
    """They have 64 bits there, and no signal among them."""
    args = pack("<11Q", CLONE_NEWTIME | 1 << 33, *range(10))
    call = stopped("Clone", "clone3", 0x1000, 88, memory={0x1000: args})
    assert call.namespaces == CLONE_NEWTIME
    assert type(call).flags.render(call) == "CLONE_INTO_CGROUP|CLONE_NEWTIME"
    assert not call.is_thread


def test_fork_is_a_clone(stopped):
    """fork(2) and vfork(2) say by their names what clone says by flags."""
    fork, vfork = stopped("Clone", "fork"), stopped("Clone", "vfork")
    assert type(fork).flags.render(fork) == "SIGCHLD"
    assert type(vfork).flags.render(vfork) == "SIGCHLD|CLONE_VM|CLONE_VFORK"


def test_signals(stopped):
    """A call by pidfd names no process id, which must not look like 0 or -1 of kill(2)."""
    everybody = stopped("Signal", "kill", -1, signal.SIGKILL)
    by_pidfd = stopped("Signal", "pidfd_send_signal", 5, signal.SIGTERM)
    assert (everybody.pid, everybody.signal) == (-1, 9)
    assert type(everybody).signal.render(everybody) == "SIGKILL"
    assert by_pidfd.pid == -(1 << 31)
    assert by_pidfd.pidfd == 5


def test_seccomp_by_prctl(stopped):
    """Modes of prctl count from one, the operations from zero; other options are not Seccomp."""
    for call in (stopped("Seccomp", "prctl", 22, 2, 0x1000), stopped("Seccomp", "seccomp", 1, 8)):
        assert type(call).op.render(call) == "SECCOMP_SET_MODE_FILTER"
        assert call.installs
    assert not stopped("Seccomp", "seccomp", 2).installs
    assert not stopped("Seccomp", "prctl", 22, 0).installs
    with pytest.raises(LookupError):
        stopped("Seccomp", "prctl", 38, 1)


def test_sched_policies(stopped):
    """Policy and priority are where the call keeps them; sched_setparam leaves the policy."""
    attr = pack("<IIQiIQQQ", 48, 1, 0, 0, 42, 0, 0, 0)
    by_attr = stopped("SchedSetScheduler", "sched_setattr", 0, 0x1000, 0, memory={0x1000: attr})
    assert (by_attr.policy, by_attr.priority) == (1, 42)
    by_param = stopped("SchedSetScheduler", "sched_setparam", 0, 0x1000, memory={0x1000: words(7)})
    assert SchedSetScheduler.policy.render(by_param).startswith("unchanged")
    assert by_param.priority == 7
    plain = stopped("SchedSetScheduler", "sched_setscheduler", 0, 2 | 0x40000000, 0x1000)
    assert SchedSetScheduler.policy.render(plain) == "SCHED_RR|SCHED_RESET_ON_FORK"


# -- identity


def test_ids(stopped):
    """-1 leaves an id; on i386 the old calls have 16 bits."""
    call = stopped("SetUid", "setresuid", 0xFFFF_FFFF, 1000, 0)
    assert (call.ruid, call.euid, call.suid) == (-1, 1000, 0)
    assert call.wanted == {1000, 0}
    old = stopped("SetUid", "setreuid", 0xFFFF, 5, arch="i386")
    assert old.wanted == {5}
    assert stopped("SetGid", "setgid32", 70000, arch="i386").gid == 70000


@pytest.mark.parametrize(
    ("arch", "syscall", "vector"),
    [
        ("x86_64", "setgroups", words(4, 27)),
        ("i386", "setgroups", pack("<2H", 4, 27)),
        ("i386", "setgroups32", words(4, 27)),
    ],
)
def test_groups(stopped, arch, syscall, vector):
    """Supplementary groups are read by the width that the call has for them."""
    call = stopped("SetGid", syscall, 2, 0x1000, arch=arch, memory={0x1000: vector})
    assert call.groups == (4, 27)
    assert call.wanted == {4, 27}


def test_capabilities(stopped):
    """From version 2 on a set has 64 bits, in two structs; before, 32 in one."""
    memory = {
        0x1000: words(0x20080522, 0),
        0x1100: words(0x19980330, 0),
        0x2000: words(1, 2, 3, 4, 5, 6),
        0x2100: words(7, 8, 9),
    }
    new = stopped("SetCaps", "capset", 0x1000, 0x2000, memory=memory)
    old = stopped("SetCaps", "capset", 0x1100, 0x2100, memory=memory)
    assert (new.effective, new.permitted, new.inheritable) == (
        1 | 4 << 32,
        2 | 5 << 32,
        3 | 6 << 32,
    )
    assert old.sets == (7, 8, 9)


# -- system


def test_a_host_name_has_a_length(stopped):
    """The text need not end in a NUL, and no more than 64 bytes are looked at."""
    memory = {0x1000: b"x" * 100}
    assert stopped("SetHostname", "sethostname", 0x1000, 3, memory=memory).name == b"xxx"
    assert len(stopped("SetHostname", "sethostname", 0x1000, 99, memory=memory).name) == 64
    assert stopped("SetHostname", "sethostname", 0x1000, -1, memory=memory).name == b""


def test_old_clocks_are_the_wall_clock(stopped):
    """Calls that know no other clock say so."""
    for operation, name in (("SetTime", "settimeofday"), ("GetTime", "gettimeofday")):
        call = stopped(operation, name, 0x1000, 0)
        assert type(call).clock.render(call) == "CLOCK_REALTIME"


def test_flags_of_sibling_calls_have_their_own_names(stopped):
    """One bit, two meanings: the event says which."""
    for operation, name, at, text in [
        ("KexecLoad", "kexec_load", 3, "KEXEC_PRESERVE_CONTEXT"),
        ("KexecLoad", "kexec_file_load", 4, "KEXEC_FILE_ON_CRASH"),
        ("ModuleLoad", "finit_module", 2, "MODULE_INIT_IGNORE_VERMAGIC"),
    ]:
        call = stopped(operation, name, *(2 if register == at else 0 for register in range(6)))
        assert type(call).flags.render(call) == text


def test_quota_commands(stopped):
    """Command and kind share a register."""
    call = stopped("Quota", "quotactl", 0x800007 << 8 | 1, 0x1000, 0, 0, memory={0x1000: b"/d\0"})
    assert type(call).command.render(call) == "Q_GETQUOTA|GRPQUOTA"
    assert call.path == PurePosixPath("/d")


def test_ioctl_requests(stopped):
    """Known requests have names, others their number."""
    texts = []
    for request in (0x5412, os.O_RDWR):
        call = stopped("Ioctl", "ioctl", 0, request)
        texts.append(type(call).request.render(call))
    assert texts == ["TIOCSTI", "0x2"]


def test_long_lists_are_cut_in_events(stopped):
    """An event shows 64 of the groups and counts the rest; of messages no more are looked at."""
    memory = {0x1000: words(*range(100)), 0x2000: bytes(64 * 70)}
    groups = stopped("SetGid", "setgroups", 100, 0x1000, memory=memory)
    assert type(groups).groups.render(groups) == [*range(64), "(and 36 more)"]
    sent = stopped("SendTo", "sendmmsg", 3, 0x2000, 70, memory=memory)
    assert (
        len(sent.addresses) == 64
    )  # fewer may be sent than were given, and so fewer are looked at
