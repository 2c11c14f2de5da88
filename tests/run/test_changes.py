"""Performed calls that a rule changes, and what a rule can get wrong about them."""

import errno
import os
import sys

import pytest

SCRIPT = "cat given; echo more >> given; mkdir made; ls -d made other 2>/dev/null"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a file in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "given").write_text("given\n")
    (folder / "other").write_text("other\n")
    monkeypatch.chdir(folder)
    return folder


def refused(ran, operation):
    """The only refusal of an operation: errno and reason."""
    (event,) = [one for one in ran.of(operation) if one.get("errno") == "EPERM"]
    return event["reason"]


def test_another_path(here, rule, run):
    """The file that the rule names is opened, and the target knows no difference."""
    text = rule(f"""
    @on(Open)
    def redirects(call):
        return Allow(path="{here}/other") if call.pathname == b"given" else Allow()
    """)
    ran = run("--rules", text, "--", "cat", "given")
    assert (ran.status, ran.out) == (0, "other\n")


def test_other_registers(here, rule, run):
    """Flags, mode and owner can be changed."""
    text = rule("""
    @on(Open, flags=has(os.O_CREAT))
    def appends(call):
        return Allow(flags=call.flags & ~os.O_TRUNC | os.O_APPEND)

    @on(Mkdir)
    def narrow(call):
        return Allow(mode=0o700)
    """)
    ran = run("--rules", text, "--", "sh", "-c", "echo more > given; mkdir made")
    assert (ran.status, (here / "given").read_text()) == (0, "given\nmore\n")
    assert (here / "made").stat().st_mode & 0o777 == 0o700


def test_both_paths_of_a_rename(here, rule, run):
    """Each path of a call has a name of its own."""
    text = rule(f"""
    @on(Rename)
    def elsewhere(call):
        return Allow(oldpath="{here}/other", newpath=b"{here}/moved")
    """)
    ran = run("--rules", text, "--", "mv", "given", "x")
    assert ran.status == 0
    assert sorted(os.listdir(here)) == ["given", "moved"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("nonsense=1", "Mkdir has no argument 'nonsense'; it has"),
        ("path='here'", "has to be absolute"),
        ("path=7", "path=7 is no path"),
        ("path='/x\\0y'", "a NUL in it"),
        ("path='/' + 5000 * 'x'", "too long"),
        ("mode='rwx'", "neither a number nor bytes"),
        ("grant='everything'", "no grant is named 'everything'"),
    ],
)
def test_a_change_that_is_none(changes, reason, here, rule, run):
    """Refused, nothing is made, and the event says what is wrong."""
    text = rule(f"""
    @on(Mkdir)
    def wrong(call):
        return Allow({changes})
    """)
    ran = run("--rules", text, "--", "mkdir", "made")
    assert ran.status == 1
    assert reason in refused(ran, "Mkdir")
    assert not (here / "made").exists()


def test_what_cannot_be_performed(here, rule, run):
    """The refusal names the operation and the way out; for Chdir it is one of its own."""
    text = rule("""
    @on(Chdir, PivotRoot)
    def looks(call):
        getattr(call, "pathname", call.fields)
        call.looked = True
        return Allow()
    """)
    ran = run("--rules", text, "--", "sh", "-c", "cd /; pwd")
    assert "return Continue()" in refused(ran, "Chdir")
    assert "working directory is the target's own" in refused(ran, "Chdir")


@pytest.mark.parametrize(
    ("source", "reason"), [("1 << 20", "Supply"), ("CLOSED", "Supply")], ids=["none", "closed"]
)
def test_supply_of_no_descriptor(source, reason, here, rule, run):
    """A descriptor that is not open is refused, with the verdict in the event."""
    text = rule(f"""
    CLOSED = os.open("/", os.O_RDONLY)
    os.close(CLOSED)
    CLOSED += 500

    @on(Open)
    def supplies(call):
        return Supply({source}) if call.pathname == b"given" else Allow()
    """)
    ran = run("--rules", text, "--", "cat", "given")
    assert ran.status == 1
    assert reason in refused(ran, "Open")


@pytest.mark.parametrize("operation", ["Connect", "Bind"])
def test_a_path_for_a_socket_that_has_none(operation, here, rule, run):
    """Refused: neither the rule's path nor the address of the target is reached."""
    text = rule(f"""
    @on({operation})
    def elsewhere(call):
        return Allow(path="/somewhere")
    """)
    code = f"""if True:
    import socket
    try:
        socket.socket().{operation.lower()}(("127.0.0.1", 0))
    except PermissionError:
        print("refused")
    """
    ran = run("--rules", text, "--", sys.executable, "-c", code)
    assert ran.lines == ["refused"]
    assert "AF_UNIX" in refused(ran, operation)


def test_a_path_that_keeps_moving(here, rule, run):
    """After some tries the target gets EAGAIN, and nothing was opened."""
    text = rule("""
    names = iter(range(10_000))

    @on(Open)
    def never_content(call):
        if call.pathname != b"link":
            return Allow()
        call.path
        os.unlink("link")
        os.symlink(f"target{next(names)}", "link")
        return Allow()
    """)
    (here / "link").symlink_to("given")
    for number in range(100):
        (here / f"target{number}").write_text("x")
    ran = run("--rules", text, "--", "cat", "link")
    assert ran.status == 1
    (event,) = [one for one in ran.of("Open") if one.get("errno") == "EAGAIN"]
    assert "keeps changing" in event["reason"]


def test_no_descriptor_left(here, rule, run):
    """EMFILE comes before a file is made, as from the kernel."""
    text = rule("""
    @on(Open)
    def performs(call):
        call.pathname
        return Allow()
    """)
    code = """
import errno, os, resource
while True:
    try:
        os.open("given", os.O_RDONLY)
    except OSError as error:
        print(errno.errorcode[error.errno])
        break
try:
    os.open("made", os.O_CREAT | os.O_WRONLY)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    line = ("prlimit", "--nofile=64", "/usr/bin/python3", "-S", "-c", code)
    ran = run("--rules", text, "--", *line)
    assert ran.lines == ["EMFILE", "EMFILE"]
    assert not (here / "made").exists()


def test_landlock_is_not_there(rule, run):
    """What a program forbids itself could not be kept, so it is told that it cannot."""
    text = rule("""
    @on(Open)
    def performs(call):
        call.pathname
        return Allow()
    """)
    code = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(444, 0, 0, 1), errno.errorcode[ctypes.get_errno()])
"""
    ran = run("--rules", text, "--", "/usr/bin/python3", "-S", "-c", code)
    assert ran.lines == ["-1 ENOTSUP"]  # the same number
    assert errno.EOPNOTSUPP == errno.ENOTSUP
