"""A server without power binds the low ports that it was granted, and no others."""

import pwd
import stat
import textwrap

import pytest

from notifyd import Allow, Bind
from notifyd.errors import UsageError
from notifyd.kernel.arch import native
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["bind-low-ports"]
GRANTED = Allow(grant="low-ports")
NOBODY = pwd.getpwnam("nobody")

BIND = """
def bind(port, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as server:
        server.bind(("", port))
"""


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("0.0.0.0:80", GRANTED),
        ("127.0.0.1:8443", GRANTED),
        ("[::]:80", GRANTED),
        ("0.0.0.0:81", Allow()),
        ("0.0.0.0:443", Allow()),
        ("0.0.0.0:0", Allow()),
        ("unix:/run/80", Allow()),
        ("netlink:80", Allow()),
        (b"\x02", Allow()),
        (None, Allow()),
    ],
)
def test_the_grant_is_for_the_ports_named(address, verdict):
    """IPv4 and IPv6; a netlink port is not a port, and what is too short has none."""
    rules = load_rules(*RULES, ports=(80, 8443))
    assert verdict_of(rules, make_call(Bind, address=address)) == verdict


@pytest.mark.parametrize("port", [80, 443])
def test_without_options_it_is_the_web(port):
    """80 and 443 unless something else was said."""
    call = make_call(Bind, address=f"0.0.0.0:{port}")
    assert verdict_of(load_rules(*RULES), call) == GRANTED


def test_a_port_is_a_number():
    """The person is told which option is wrong."""
    for text in ("http", "0", "65536", "-80"):
        with pytest.raises(UsageError, match=f"--option ports={text}: a port is a number from"):
            load_rules(*RULES, ports=text)


@pytest.fixture
def lonely(python):
    """Run Python as nobody under the rule, in a network namespace of its own.

    There no port is taken, and which ones are low is not the host's to say.
    """
    return lambda code, *arguments, **options: python(
        RULES,
        BIND + textwrap.dedent(code),
        *arguments,
        user="nobody",
        before=("unshare", "--net"),
        **options,
    )


@pytest.mark.root
def test_nobody_binds_port_80(lonely):
    """80 works for TCP, UDP and IPv6; 81 is refused as ever; what is not low is free."""
    found = lonely(
        """
        attempt("uid", os.geteuid)
        attempt("80", bind, 80)
        attempt("udp 80", bind, 80, socket.AF_INET, socket.SOCK_DGRAM)
        attempt("v6 80", bind, 80, socket.AF_INET6)
        attempt("81", bind, 81)
        attempt("8080", bind, 8080)
        attempt("any", bind, 0)
        """,
        ports=80,
    ).found
    assert found == {
        "uid": NOBODY.pw_uid,
        "80": "done",
        "udp 80": "done",
        "v6 80": "done",
        "81": "EACCES",
        "8080": "done",
        "any": "done",
    }


@pytest.mark.root
def test_the_program_serves_on_its_own_socket(lonely):
    """The socket that was bound for it is the one that it has: it listens and knows its name."""
    found = lonely(
        """
        with socket.socket() as server:
            server.bind(("", 80))
            server.listen()
            attempt("port", lambda: server.getsockname()[1])
            attempt("listens", server.getsockopt, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            attempt("again", server.bind, ("", 80))
            attempt("taken", bind, 80)
        """,
        ports=80,
    ).found
    assert found == {"port": 80, "listens": 1, "again": "EINVAL", "taken": "EADDRINUSE"}


@pytest.mark.root
def test_mistakes_have_the_errno_of_the_kernel(lonely):
    """What is no socket, no descriptor, no address, or too long for one."""
    found = lonely(
        """
        number, address, other = int(sys.argv[1]), b"\\2\\0\\0\\x50" + bytes(200), socket.socket()
        attempt("no socket", syscall, number, 0, address, 16)
        attempt("no descriptor", syscall, number, 99, address, 16)
        attempt("no address", syscall, number, other.fileno(), 0, 16)
        attempt("too long", syscall, number, other.fileno(), address, 200)
        attempt("too short", syscall, number, other.fileno(), address, 8)
        """,
        str(native().numbers["bind"]),
    ).found
    assert found == {
        "no socket": "ENOTSOCK",
        "no descriptor": "EBADF",
        "no address": "EFAULT",
        "too long": "EINVAL",
        "too short": "EINVAL",
    }


@pytest.mark.root
def test_a_path_is_the_programs_own(lonely, everybodys):
    """AF_UNIX: the file is nobody's, by its umask and its working directory, and abstract ones."""
    ran = lonely(
        """
        os.umask(0o027)
        os.chdir(sys.argv[1])
        def bind_unix(name):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(name)
        attempt("absolute", bind_unix, sys.argv[1] + "/absolute")
        attempt("relative", bind_unix, "relative")
        attempt("taken", bind_unix, "relative")
        attempt("abstract", bind_unix, "\\0of nobody")
        attempt("elsewhere", bind_unix, "/proc/here")
        attempt("forbidden", bind_unix, "/forbidden")
        """,
        str(everybodys),
    )
    assert ran.found == {
        "absolute": "done",
        "relative": "done",
        "taken": "EADDRINUSE",
        "abstract": "done",
        "elsewhere": ran.found["elsewhere"],
        "forbidden": "EACCES",
    }
    assert ran.found["elsewhere"] != "done"
    for name in ("absolute", "relative"):
        made = (everybodys / name).stat()
        assert stat.S_ISSOCK(made.st_mode)
        assert stat.S_IMODE(made.st_mode) == 0o750
        assert (made.st_uid, made.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.mark.root
def test_the_audit_file_says_who_bound_what(lonely):
    """One event for each bind, with the address and that notifyd performed it."""
    ran = lonely("attempt('80', bind, 80); attempt('81', bind, 81)", ports=80)
    binds = [one for one in ran.calls if one["operation"] == "Bind"]
    told = [(one["args"]["address"], one["how"], one.get("errno")) for one in binds]
    assert told == [("0.0.0.0:80", "performed", None), ("0.0.0.0:81", "performed", "EACCES")]
    assert {one["uid"] for one in binds} == {NOBODY.pw_uid}
