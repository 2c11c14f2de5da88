"""Connections and datagrams go where they may, and nowhere else."""

import errno
import json
import os
import pwd
import socket
import struct
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from notifyd import Allow, Connect, Deny, SendTo, Socket
from notifyd.errors import UsageError
from notifyd.kernel.arch import native
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["connect-allowlist"]
REFUSED = Deny(errno.EACCES)
SOCK_PACKET = 10  # of AF_INET: a packet socket by its oldest name; packet(7)
NOBODY = pwd.getpwnam("nobody")

# What the probes use: `connect` and the ways to send a datagram, each to an address.
WAYS = """
places = json.loads(sys.argv[1])

def sock(family=socket.AF_INET, kind=socket.SOCK_DGRAM):
    return socket.socket(family, kind)

def connect(to, family=socket.AF_INET):
    with sock(family, socket.SOCK_STREAM) as client:
        client.connect(tuple(to))

def sendto(to, family=socket.AF_INET):
    with sock(family) as client:
        return client.sendto(b"datagram", tuple(to))

def sendmsg(to, family=socket.AF_INET):
    with sock(family) as client:
        return client.sendmsg([b"data", b"gram"], [], 0, tuple(to))
"""


def is_refused(verdict) -> bool:
    """Whether it is the rule's refusal, with a reason that names the destination."""
    return isinstance(verdict, Deny) and verdict.errno == errno.EACCES


@pytest.mark.parametrize(
    ("to", "address", "free"),
    [
        ("192.0.2.1:443", "192.0.2.1:443", True),
        ("192.0.2.1:443", "192.0.2.1:80", False),
        ("192.0.2.1:443", "192.0.2.2:443", False),
        ("192.0.2.1", "192.0.2.1:80", True),
        ("192.0.2.0/24", "192.0.2.200:9", True),
        ("192.0.2.7/24:53", "192.0.2.200:53", True),
        ("192.0.2.0/24:53", "192.0.2.200:54", False),
        ("192.0.2.1", "[::ffff:192.0.2.1]:80", True),
        ("192.0.2.1", "[::ffff:192.0.2.2]:80", False),
        ("[2001:db8::1]:443", "[2001:db8::1]:443", True),
        ("[2001:db8::1]:443", "[2001:db8::1]:444", False),
        ("2001:db8::1", "[2001:db8::1]:9", True),
        ("[2001:db8::1]", "[2001:db8::1]:9", True),
        ("2001:db8::/32", "[2001:db8:1::]:1", True),
        ("2001:db8::/32", "192.0.2.1:1", False),
        ("localhost:80", "127.0.0.1:80", True),
        ("localhost:80", "127.0.0.2:80", False),
        ("0.0.0.0/0", "[2001:db8::1]:1", False),
        ("127.0.0.1", "0.0.0.0:80", False),
        ("127.0.0.1", "unix:/run/x", True),
        ("127.0.0.1", "unix:@x", True),
        ("127.0.0.1", "netlink:0", True),
        ("127.0.0.1", b"\x02\0\0\x50\x7f\0\0", False),
        ("127.0.0.1", b"\x28\0" + bytes(14), False),
    ],
)
@pytest.mark.parametrize("operation", [Connect, SendTo])
def test_the_list_decides(to, address, free, operation):
    """Address, network, host, port, IPv4 in IPv6; what is cut off or unknown is refused."""
    verdict = verdict_of(load_rules(*RULES, to=to), make_call(operation, address=address))
    assert verdict == Allow() if free else is_refused(verdict)


def test_several_places():
    """Each is allowed."""
    rules = load_rules(*RULES, to=("192.0.2.1:1", "192.0.2.2:2"))
    for address in ("192.0.2.1:1", "192.0.2.2:2"):
        assert verdict_of(rules, make_call(Connect, address=address)) == Allow()
    assert is_refused(verdict_of(rules, make_call(Connect, address="192.0.2.1:2")))


def test_an_empty_list_allows_nothing():
    """Without options there is no network to go to."""
    assert is_refused(verdict_of(load_rules(*RULES), make_call(Connect, address="127.0.0.1:1")))


def test_the_reason_names_the_destination():
    """So that a person can add it."""
    verdict = verdict_of(load_rules(*RULES), make_call(Connect, address="192.0.2.1:443"))
    assert verdict.reason == "192.0.2.1:443 is not on the list"


def test_ending_a_connection_is_free_and_sending_so_is_not():
    """AF_UNSPEC ends a connection in connect(2); UDP's send takes it for AF_INET."""
    nowhere = struct.pack("=H", socket.AF_UNSPEC) + bytes(14)
    rules = load_rules(*RULES, to="127.0.0.1")
    assert verdict_of(rules, make_call(Connect, address=nowhere)) == Allow()
    assert is_refused(verdict_of(rules, make_call(SendTo, address=nowhere)))


@pytest.mark.parametrize("syscall", ["sendmsg", "sendmmsg"])
def test_every_message_counts(syscall):
    """One bad destination among many refuses the whole call."""
    rules = load_rules(*RULES, to="127.0.0.1")
    good, bad = "127.0.0.1:1", "192.0.2.1:1"
    assert is_refused(verdict_of(rules, make_call(SendTo, syscall=syscall, addresses=(bad,))))
    assert verdict_of(rules, make_call(SendTo, syscall=syscall, addresses=(good,))) == Allow()
    assert verdict_of(rules, make_call(SendTo, syscall=syscall, addresses=(None,))) == Allow()
    mixed = make_call(SendTo, syscall="sendmmsg", addresses=(good, None, bad))
    assert is_refused(verdict_of(rules, mixed))


def test_the_old_entry_of_32_bit_programs():
    """Socketcall keeps the address's pointer in memory."""
    rules = load_rules(*RULES, to="127.0.0.1")
    calls = [
        make_call(Connect, address=address, arch="i386", syscall="socketcall")
        for address in ("127.0.0.1:1", "192.0.2.1:1")
    ]
    assert verdict_of(rules, calls[0]) == Allow()
    assert is_refused(verdict_of(rules, calls[1]))


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"family": socket.AF_INET, "type": socket.SOCK_STREAM}, Allow()),
        ({"family": socket.AF_UNIX, "type": socket.SOCK_STREAM}, Allow()),
        ({"family": socket.AF_NETLINK, "type": socket.SOCK_RAW}, Allow()),
        ({"family": socket.AF_INET, "type": socket.SOCK_RAW}, REFUSED),
        ({"family": socket.AF_INET6, "type": socket.SOCK_RAW | socket.SOCK_CLOEXEC}, REFUSED),
        ({"family": socket.AF_PACKET, "type": socket.SOCK_RAW}, REFUSED),
        ({"family": socket.AF_VSOCK, "type": socket.SOCK_STREAM}, REFUSED),
        ({"family": socket.AF_INET, "type": socket.SOCK_STREAM, "protocol": 132}, REFUSED),
        ({"family": socket.AF_INET6, "type": socket.SOCK_SEQPACKET}, REFUSED),
        ({"family": socket.AF_INET, "type": SOCK_PACKET}, REFUSED),
        ({"family": socket.AF_INET, "type": SOCK_PACKET, "syscall": "socketpair"}, REFUSED),
    ],
)
@pytest.mark.parametrize("rules", [*RULES, "ask-connect"])
def test_sockets_whose_destination_no_rule_sees(rules, fields, verdict):
    """Raw and packet sockets, SCTP and other families are refused in the kernel."""
    assert verdict_of(load_rules(rules), make_call(Socket, **fields)) == verdict


@pytest.mark.parametrize("rules", [*RULES, "ask-connect"])
@pytest.mark.parametrize(
    "to",
    [
        "nosuch.invalid",
        "192.0.2.1:http",
        "192.0.2.0/33",
        "[::1]:x",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
    ],
)
def test_what_is_no_place_is_a_usage_error(rules, to):
    """It names the option and the text."""
    with pytest.raises(UsageError) as caught:
        load_rules(rules, to=to)
    assert f"--option to={to}" in str(caught.value)


@pytest.fixture
def servers() -> Iterator[dict[str, socket.socket]]:
    """Servers of ours: `tcp`, `udp` and `udp6` that are on the list, `bad` and `badudp`."""
    with ExitStack() as stack:

        def serve(family: int, kind: int, host: str) -> socket.socket:
            server = stack.enter_context(socket.socket(family, kind))
            server.bind((host, 0))
            server.settimeout(10)
            if kind == socket.SOCK_STREAM:
                server.listen()
            return server

        yield {
            "tcp": serve(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
            "tcp6": serve(socket.AF_INET6, socket.SOCK_STREAM, "::1"),
            "udp": serve(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
            "udp6": serve(socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
            "bad": serve(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
            "badudp": serve(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
        }


@pytest.fixture
def probe(python, servers):
    """Run Python under the rule; the servers' addresses are `places`, by name."""

    def start(code: str, **options):
        places = {name: server.getsockname()[:2] for name, server in servers.items()}
        good = tuple(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for name, (host, port) in places.items()
            if not name.startswith("bad")
        )
        program = WAYS + textwrap.dedent(code)
        return python(RULES, program, json.dumps(places), **{"to": good, **options})

    return start


def test_tcp(probe, servers):
    """A connection that may be made is made, by the program's own socket; others are EACCES."""
    found = probe(
        """
        import select
        attempt("good", connect, places["tcp"])
        attempt("six", connect, places["tcp6"], socket.AF_INET6)
        attempt("mapped", connect, ("::ffff:127.0.0.1", places["tcp"][1]), socket.AF_INET6)
        attempt("bad", connect, places["bad"])
        attempt("bad mapped", connect, ("::ffff:127.0.0.1", places["bad"][1]), socket.AF_INET6)
        attempt("any", connect, ("0.0.0.0", places["tcp"][1]))
        client = sock(kind=socket.SOCK_STREAM)
        client.setblocking(False)
        attempt("at once", client.connect_ex, tuple(places["tcp"]))
        select.select([], [client], [], 20)
        attempt("sent", lambda: client.getpeername()[1])
        attempt("fast open", lambda: sock(kind=socket.SOCK_STREAM).sendto(
            b"x", socket.MSG_FASTOPEN, tuple(places["bad"])))
        """
    ).found
    assert found == {
        "good": "done",
        "six": "done",
        "mapped": "done",
        "bad": "EACCES",
        "bad mapped": "EACCES",
        "any": "EACCES",
        "at once": found["at once"],
        "sent": servers["tcp"].getsockname()[1],
        "fast open": "EACCES",
    }
    assert found["at once"] in (0, errno.EINPROGRESS)


def test_a_port_where_nobody_listens(probe):
    """The kernel's own error comes through."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        code = f"attempt('closed', connect, ('127.0.0.1', {unused.getsockname()[1]}))"
        assert probe(code, to=place).found == {"closed": "ECONNREFUSED"}


def test_udp(probe, servers):
    """Sendto and sendmsg, to both families, and what arrives is what was sent."""
    found = probe(
        """
        attempt("sendto", sendto, places["udp"])
        attempt("sendmsg", sendmsg, places["udp"])
        attempt("sendto6", sendto, places["udp6"], socket.AF_INET6)
        attempt("sendmsg6", sendmsg, places["udp6"], socket.AF_INET6)
        attempt("bad sendto", sendto, places["badudp"])
        attempt("bad sendmsg", sendmsg, places["badudp"])
        client = sock()
        client.connect(tuple(places["udp"]))
        attempt("connected", client.send, b"datagram")
        bad = bytes(2) + struct.pack("!H4s8x", places["badudp"][1], bytes([127, 0, 0, 1]))
        attempt("unspecified", syscall, SENDTO, sock().fileno(), b"x", 1, 0, bad, 16)
        """.replace("SENDTO", str(native().numbers["sendto"]))
    ).found
    assert found == {
        "sendto": 8,
        "sendmsg": 8,
        "sendto6": 8,
        "sendmsg6": 8,
        "bad sendto": "EACCES",
        "bad sendmsg": "EACCES",
        "connected": 8,
        "unspecified": "EACCES",
    }
    assert [servers["udp"].recv(99) for _ in range(3)] == [b"datagram"] * 3
    assert [servers["udp6"].recv(99) for _ in range(2)] == [b"datagram"] * 2
    servers["badudp"].setblocking(False)
    with pytest.raises(BlockingIOError):
        servers["badudp"].recv(99)


def test_host_names(probe, servers):
    """A name on the list allows what it means."""
    port = servers["tcp"].getsockname()[1]
    found = probe(
        """
        attempt("good", connect, places["tcp"])
        attempt("bad", connect, places["bad"])
        """,
        to=f"localhost:{port}",
    ).found
    assert found == {"good": "done", "bad": "EACCES"}


def test_source_routes(probe):
    """A packet with a route goes to somewhere else first."""
    found = probe(
        """
        route = bytes([131, 7, 4, 10, 0, 0, 1, 0])
        attempt("route", sock().setsockopt, socket.IPPROTO_IP, socket.IP_OPTIONS, route)
        attempt("other", sock().setsockopt, socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        attempt("raw", sock, socket.AF_INET, socket.SOCK_RAW)
        attempt("packet", sock, socket.AF_INET, 10)
        """
    ).found
    assert found == {"route": "EACCES", "other": "done", "raw": "EACCES", "packet": "EACCES"}


@pytest.mark.root
def test_a_unix_peer_sees_the_programs_user(probe, everybodys):
    """SO_PEERCRED has the program's ids, and its own permissions decide."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as closed:
        for one, name, mode in ((server, "open", 0o777), (closed, "closed", 0o700)):
            one.bind(str(everybodys / name))
            os.chmod(everybodys / name, mode)
            one.listen()
        server.settimeout(10)
        found = probe(
            f"""
            os.chdir({str(everybodys)!r})
            attempt("open", lambda: socket.socket(socket.AF_UNIX).connect("open"))
            attempt("closed", lambda: socket.socket(socket.AF_UNIX).connect("closed"))
            attempt("missing", lambda: socket.socket(socket.AF_UNIX).connect("missing"))
            """,
            user="nobody",
        ).found
        peer, _ = server.accept()
        with peer:
            record = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert found == {"open": "done", "closed": "EACCES", "missing": "ENOENT"}
    assert struct.unpack("=iII", record)[1:] == (NOBODY.pw_uid, NOBODY.pw_gid)


def test_descriptors_travel(probe):
    """SCM_RIGHTS between the program's own processes works as ever."""
    found = probe(
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        reader, writer = os.pipe()
        attempt("sent", socket.send_fds, ours, [b"x"], [writer])
        data, (copy,), _, _ = socket.recv_fds(theirs, 1, 1)
        os.write(copy, b"through")
        attempt("read", lambda: os.read(reader, 99).decode())
        """
    ).found
    assert found == {"sent": 1, "read": "through"}
