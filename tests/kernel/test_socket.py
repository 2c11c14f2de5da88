"""Raw socket calls, and addresses read from bytes."""

import errno
import ipaddress
import os
import socket as std
import struct

import pytest

from notifyd.kernel import socket

UNIX = struct.pack("=H", std.AF_UNIX)


def inet(host, port):
    """Return a struct sockaddr_in."""
    return struct.pack("=H", std.AF_INET) + struct.pack("!H4s8x", port, std.inet_aton(host))


def inet6(host, port, flow=0, scope=0):
    """Return a struct sockaddr_in6."""
    packed = std.inet_pton(std.AF_INET6, host)
    head = struct.pack("=H", std.AF_INET6) + struct.pack("!HI16s", port, flow, packed)
    return head + struct.pack("=I", scope)


SHOWN = [
    (inet("127.0.0.1", 80), "127.0.0.1:80"),
    (inet6("::1", 80), "[::1]:80"),
    (inet6("fe80::1", 443, scope=3), "[fe80::1%3]:443"),
    (inet6("::1", 80)[:24], "[::1]:80"),
    (UNIX + b"/run/x\0", "unix:/run/x"),
    (UNIX + b"/run/x", "unix:/run/x"),
    (UNIX + b"/run/x\0rubbish", "unix:/run/x"),
    (UNIX + b"\0name", "unix:@name"),
    (UNIX + b"\0na\0me", "unix:@na\\x00me"),
    (UNIX + b"/run/\xff\n", "unix:/run/\\xff\\x0a"),
    (UNIX, "unix:"),
    (struct.pack("=HHII", std.AF_NETLINK, 0, 7, 1), "netlink:7"),
    (struct.pack("=H", std.AF_PACKET) + b"\x01\x02", "AF_PACKET:0102"),
    (struct.pack("=H", 999) + b"\x01", "999:01"),
    (b"", "AF_UNSPEC:"),
    (b"\x02", "AF_UNSPEC:"),
    (inet("127.0.0.1", 80)[:15], "AF_INET:" + inet("127.0.0.1", 80)[2:15].hex()),
]


@pytest.mark.parametrize(("data", "text"), SHOWN)
def test_addresses_are_readable(data, text):
    """An address shows as people write it, and keeps its bytes."""
    address = socket.parse_sockaddr(data)
    assert str(address) == text
    assert address.raw == data


def test_fields():
    """Each family fills the fields it has."""
    four = socket.parse_sockaddr(inet("192.0.2.1", 8080))
    assert (four.family, four.host, four.port) == (2, ipaddress.IPv4Address("192.0.2.1"), 8080)
    six = socket.parse_sockaddr(inet6("2001:db8::2", 1, flow=9, scope=4))
    assert (six.host, six.flow, six.scope) == (ipaddress.IPv6Address("2001:db8::2"), 9, 4)
    assert socket.parse_sockaddr(UNIX + b"\0ab\0").path == b"\0ab\0"
    netlink = socket.parse_sockaddr(struct.pack("=HHII", std.AF_NETLINK, 0, 7, 5))
    assert (netlink.port, netlink.groups, netlink.host, netlink.path) == (7, 5, None, None)


@pytest.mark.parametrize(
    "wanted",
    [
        (std.AF_INET, std.SOCK_STREAM, std.IPPROTO_TCP),
        (std.AF_INET6, std.SOCK_DGRAM, std.IPPROTO_UDP),
        (std.AF_UNIX, std.SOCK_SEQPACKET, 0),
        (std.AF_NETLINK, std.SOCK_RAW, std.NETLINK_ROUTE),
    ],
)
def test_socket_info(wanted):
    """A socket says its own domain and type."""
    with std.socket(*wanted) as sock:
        assert socket.socket_info(sock.fileno()) == wanted[:2]


def test_socket_info_of_a_file():
    """What is no socket is ENOTSOCK."""
    fd = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            socket.socket_info(fd)
        assert caught.value.errno == errno.ENOTSOCK
    finally:
        os.close(fd)


def test_bind_connect_send():
    """Datagrams go where the bytes of the address say."""
    with (
        std.socket(std.AF_INET, std.SOCK_DGRAM) as one,
        std.socket(std.AF_INET, std.SOCK_DGRAM) as two,
    ):
        socket.bind(one.fileno(), inet("127.0.0.1", 0))
        address = inet(*one.getsockname())
        assert socket.sendto(two.fileno(), b"there", 0, address) == 5
        assert socket.sendmsg(two.fileno(), [b"a", b"", b"bc"], 0, address, b"") == 3
        socket.connect(two.fileno(), address)
        assert socket.sendto(two.fileno(), b"peer", 0, None) == 4
        assert socket.sendmsg(two.fileno(), [b"end"], 0, None, b"") == 3
        assert [one.recv(100) for _ in range(4)] == [b"there", b"abc", b"peer", b"end"]


def test_abstract_names_keep_their_length():
    """An abstract name with NULs in it is bound just so."""
    name = b"\0notifyd\0" + str(os.getpid()).encode() + b"\0"
    with std.socket(std.AF_UNIX) as one, std.socket(std.AF_UNIX) as two:
        socket.bind(one.fileno(), UNIX + name)
        assert one.getsockname() == name
        one.listen()
        socket.connect(two.fileno(), UNIX + name)
        with pytest.raises(ConnectionRefusedError):
            socket.connect(two.fileno(), UNIX + name[:-1])


def test_errors_are_the_kernels():
    """An errno comes back as it was: too short, in use, in progress."""
    with std.socket(std.AF_INET) as one, std.socket(std.AF_INET) as two:
        with pytest.raises(OSError) as caught:
            socket.bind(one.fileno(), inet("127.0.0.1", 0)[:7])
        assert caught.value.errno == errno.EINVAL
        socket.bind(one.fileno(), inet("127.0.0.1", 0))
        address = inet(*one.getsockname())
        with pytest.raises(OSError) as caught:
            socket.bind(two.fileno(), address)
        assert caught.value.errno == errno.EADDRINUSE
        one.listen()
        two.setblocking(False)
        with pytest.raises(BlockingIOError) as waiting:
            socket.connect(two.fileno(), address)
        assert waiting.value.errno == errno.EINPROGRESS


def test_control_data_goes_with_it():
    """Control bytes are handed to the kernel as they are."""
    ours, theirs = std.socketpair()
    with ours, theirs:
        control = struct.pack("=QIIi4x", 20, std.SOL_SOCKET, std.SCM_RIGHTS, 0)
        assert socket.sendmsg(theirs.fileno(), [b"x"], 0, None, control) == 1
        _, messages, _, _ = ours.recvmsg(1, std.CMSG_SPACE(4))
        (level, kind, data) = messages[0]
        os.close(struct.unpack("=i", data)[0])
        assert (level, kind) == (std.SOL_SOCKET, std.SCM_RIGHTS)
