"""What rules about the network share."""

import socket
from ipaddress import ip_address

import pytest

from notifyd import Connect, SendTo
from notifyd.kernel.socket import SockAddr
from notifyd.rulekit import network
from notifyd.rulekit.network import Destination
from notifyd.testing import make_call

UNSPECIFIED = b"\0\0\0P\xc0\0\2\1"  # struct sockaddr of AF_UNSPEC, with a port and an address


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", ("192.0.2.1", None)),
        ("192.0.2.0/24:443", ("192.0.2.0/24", 443)),
        ("localhost:0", ("localhost", 0)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("2001:db8::/32", ("2001:db8::/32", None)),
        ("host:", ("host", None)),
    ],
)
def test_the_port_is_after_the_last_colon(text, found):
    """But for an IPv6 address without brackets, which has colons of its own."""
    assert network.host_and_port(text) == found


@pytest.mark.parametrize("text", ["localhost:65536", "localhost:-1", "localhost:http"])
def test_a_port_is_a_number_of_16_bits(text):
    """Names of services are not looked up."""
    with pytest.raises(ValueError, match=r"0 to 65535|invalid literal"):
        network.host_and_port(text)


def ip(host, port=80):
    """The address of a socket."""
    address = ip_address(host)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return SockAddr(family, b"", host=address, port=port)


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        (ip("192.0.2.7"), True),
        (ip("192.0.2.7", 81), False),
        (ip("192.0.3.7"), False),
        (ip("::ffff:192.0.2.7"), True),
        (ip("2001:db8::1", 9), True),
        (ip("2001:db9::1", 9), False),
        (SockAddr(socket.AF_UNSPEC, b""), False),
    ],
)
def test_an_address_is_listed_by_network_and_port(address, listed):
    """A destination without a port is for all of them; what has no address is in no network."""
    places = [Destination.parse("192.0.2.9/24", 80), Destination.parse("2001:db8::/32", None)]
    assert network.is_listed(address, places) is listed


@pytest.mark.parametrize(
    ("operation", "address", "found"),
    [
        (Connect, "192.0.2.1:80", ["192.0.2.1:80"]),
        (SendTo, "192.0.2.1:80", ["192.0.2.1:80"]),
        (Connect, "unix:/s", []),
        (SendTo, "unix:/s", []),
        (Connect, UNSPECIFIED, []),
        (SendTo, UNSPECIFIED, ["AF_UNSPEC:0050c0000201"]),
        (Connect, b"", []),
        (SendTo, b"", []),
    ],
)
def test_what_stays_on_the_machine_is_not_remote(operation, address, found):
    """AF_UNSPEC ends a connection, but a send to it reaches an IPv4 address."""
    call = make_call(operation, address=address)
    assert list(map(str, network.remote_addresses(call))) == found


def test_a_send_can_bypass_the_routes():
    """connect(2) has no flag for it."""
    flags = socket.MSG_DONTROUTE | socket.MSG_NOSIGNAL
    assert network.bypasses_routes(make_call(SendTo, flags=flags))
    assert not network.bypasses_routes(make_call(SendTo, flags=socket.MSG_NOSIGNAL))
    assert not network.bypasses_routes(make_call(Connect))
