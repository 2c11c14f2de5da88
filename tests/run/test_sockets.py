"""Performed network calls: results, errnos and side effects are those of the kernel."""

import os
import socket

import pytest

EVERYTHING = """
@on(Connect, Bind, SendTo)
def looks(call):
    if isinstance(call, SendTo):
        assert isinstance(call.addresses, tuple)
    else:
        assert call.address is None or call.address.raw
    return Allow()
"""

# An AF_UNIX server is told the pid of whoever connects: unix(7), SO_PEERCRED. A 32-bit program does
# not connect itself, so that is notifyd.
PERFORMED = {"peer is me": "peer is another"}


def as_performed(lines):
    """What a 32-bit program printed natively, with the differences that cannot be avoided."""
    return [PERFORMED.get(line, line) for line in lines]


@pytest.fixture
def ports():
    """A TCP port that listens and one that refuses."""
    with socket.socket() as listens, socket.socket() as refuses:
        for one in (listens, refuses):
            one.bind(("127.0.0.1", 0))
        listens.listen(50)
        yield [str(one.getsockname()[1]) for one in (listens, refuses)]


def words(program, ports, folder):
    """The command, with a folder of its own."""
    folder.mkdir()
    os.chmod(folder, 0o777)
    return [program, *ports, str(folder)]


def test_performed_is_as_native(build, rule, run, native, ports, tmp_path):
    """Ninety odd calls return the same, byte for byte, performed and native."""
    program = build("sockets")
    ran = run("--rules", rule(EVERYTHING), "--", *words(program, ports, tmp_path / "a"))
    alone = native(*words(program, ports, tmp_path / "b"))
    assert ran.lines == alone.lines
    assert ran.status == alone.status == 7
    assert not any(event.get("racy") for event in ran.calls)
    assert ran.the("workload.ended")["calls"] == len(ran.calls)


def test_performed_for_another_user_is_as_native(build, rule, run, native, ports, tmp_path):
    """The same as an ordinary user, for whom notifyd acts as root: owner, mode and errnos."""
    for one in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(one, one.stat().st_mode | 0o055)
    program = build("sockets")
    ran = run("--user", "nobody", "--rules", rule(EVERYTHING), "--",
              *words(program, ports, tmp_path / "a"))  # fmt: skip
    alone = native("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                   *words(program, ports, tmp_path / "b"))  # fmt: skip
    assert ran.lines == alone.lines
    assert ran.status == alone.status == 7


def test_what_is_sent_is_never_read_again(build, rule, run, native):
    """MSG_ZEROCOPY would send what notifyd's memory holds later; a program sends it plainly."""
    program = build("zerocopy")
    ran = run("--rules", rule(EVERYTHING), "--", program)
    assert ran.lines == ["refused ENOBUFS", "first 20000, second 60000, other 0"]
    assert native(program).lines == ran.lines[1:]


def test_continued_is_as_native(build, rule, run, native, ports, tmp_path):
    """An observer changes nothing."""
    program = build("sockets")
    observing = EVERYTHING.replace("Allow()", "Continue()")
    ran = run("--rules", rule(observing), "--", *words(program, ports, tmp_path / "a"))
    assert ran.lines == native(*words(program, ports, tmp_path / "b")).lines


@pytest.mark.parametrize("verdict", ["Allow()", "Continue()"])
def test_a_32_bit_program(verdict, build, rule, run, native, ports, tmp_path):
    """The same behind the i386 entry."""
    program = build("sockets", "-m32")
    ran = run("--rules", rule(EVERYTHING.replace("Allow()", verdict)), "--",
              *words(program, ports, tmp_path / "a"))  # fmt: skip
    alone = native(*words(program, ports, tmp_path / "b"))
    ours, theirs = ran.lines, alone.lines
    if verdict == "Allow()":
        # Passing descriptors is not performed for 32-bit programs: refused, and said so.
        skip = ("pass", "take", "it is")
        ours = [one for one in ours if not one.startswith(skip)]
        theirs = [one for one in as_performed(theirs) if not one.startswith(skip)]
    assert ours == theirs
    assert {event["arch"] for event in ran.of("Connect")} == {"i386"}
