"""No sockets but AF_UNIX, without a single notification."""

import errno
import sys
from socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX

import pytest

from notifyd import Allow, Deny, IoUring, Socket
from notifyd.testing import load_rules, make_call, verdict_of

REFUSED = Deny(errno.EACCES)
RULES = ["no-network"]


@pytest.mark.parametrize("syscall", ["socket", "socketpair"])
@pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 2**32 - 1])
def test_other_families_are_refused(family, syscall):
    """Whatever is not AF_UNIX is a network of some kind."""
    call = make_call(Socket, family=family, syscall=syscall)
    assert verdict_of(load_rules(*RULES), call) == REFUSED


def test_sockets_of_one_machine_are_free():
    """AF_UNIX is what programs talk to themselves with."""
    assert verdict_of(load_rules(*RULES), make_call(Socket, family=AF_UNIX)) == Allow()


def test_what_the_filter_cannot_see_is_refused():
    """The family of i386's socketcall lies in memory: refused, even if it is AF_UNIX."""
    call = make_call(Socket, family=AF_UNIX, syscall="socketcall", arch="i386")
    assert verdict_of(load_rules(*RULES), call) == REFUSED


def test_io_uring_is_refused():
    """It makes sockets with no system call."""
    call = make_call(IoUring, syscall="io_uring_setup")
    assert verdict_of(load_rules(*RULES), call) == Deny(errno.EPERM)


def test_a_program_has_no_network(python):
    """EACCES for the Internet, AF_UNIX works, the status is the program's, nothing is notified."""
    ran = python(
        RULES,
        """
        attempt("inet", socket.socket, socket.AF_INET)
        attempt("inet6", socket.socket, socket.AF_INET6)
        attempt("netlink", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
        ours, theirs = socket.socketpair()
        ours.sendall(b"x")
        attempt("unix", lambda: theirs.recv(1).decode())
        sys.exit(7)
        """,
    )
    assert ran.found == {"inet": "EACCES", "inet6": "EACCES", "netlink": "EACCES", "unix": "x"}
    assert ran.status == 7
    assert ran.calls == []
    (ended,) = [event for event in ran.events if event["event"] == "workload.ended"]
    assert ended["calls"] == 0


def test_children_have_none_either(run):
    """What a program starts is under the same filter."""
    inner = "import socket; socket.socket()"
    ran = run(RULES, "sh", "-c", f'"$0" -I -c "{inner}" || exit 9', sys.executable)
    assert ran.status == 9
    assert "PermissionError" in ran.err
