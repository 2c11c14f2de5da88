"""Inside a program is free; there is no way out."""

import errno
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from notifyd import (
    Access,
    Allow,
    Bind,
    Chdir,
    Chmod,
    Connect,
    Deny,
    Exec,
    Ioctl,
    IoUring,
    Link,
    Mknod,
    Mount,
    Open,
    PerfEventOpen,
    Ptrace,
    ReadLink,
    Rename,
    Socket,
    Stat,
    Symlink,
)
from notifyd.errors import UsageError
from notifyd.kernel.arch import native
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["only-below"]
NOBODY = 65534
WAYS_OUT = Path(__file__).parent / "programs" / "ways_out.py"
EMPTY_PATH, TIOCSTI = 0x1000, 0x5412


def says(operation, rules=None, **fields):
    """What the rule says: an errno, or a verdict."""
    rules = rules or load_rules(*RULES, allow="/srv", **{"only-read": ("/usr", "/etc/passwd")})
    directories = {3: "/srv", 4: "/usr/f", 5: "/home", 6: "pipe:[7]"}
    links = {"/srv/link": "/home", "/srv/dots": "../home"}
    call = make_call(operation, directories=directories, links=links, **fields)
    found = verdict_of(rules, call)
    return found.errno if isinstance(found, Deny) else found


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Open, {"path": "/srv/f", "flags": os.O_RDWR | os.O_CREAT}),
        (Open, {"path": "/srv"}),
        (Open, {"path": "/usr/f"}),
        (Open, {"path": "/etc/passwd"}),
        (Open, {"dirfd": 3, "pathname": "f", "flags": os.O_WRONLY}),
        (Open, {"path": "/dev/null", "flags": os.O_WRONLY}),
        (Exec, {"path": "/usr/f"}),
        (Exec, {"path": "/srv/f"}),
        (Stat, {"path": "/"}),
        (Stat, {"path": "/etc"}),
        (Access, {"path": "/usr/f", "wanted": os.R_OK}),
        (ReadLink, {"path": "/srv/link"}),
        (Stat, {"fd": 5, "syscall": "fstat"}),
        (Stat, {"dirfd": 6, "pathname": "", "flags": EMPTY_PATH}),
        (Rename, {"oldpath": "/srv/a", "newpath": "/srv/b"}),
        (Link, {"oldpath": "/srv/a", "newpath": "/srv/b"}),
        (Symlink, {"content": "/home", "linkpath": "/srv/x"}),
        (Mknod, {"path": "/srv/fifo", "mode": stat.S_IFIFO}),
        (Bind, {"path": "/srv/socket"}),
        (Connect, {"path": "/srv/socket"}),
        (Connect, {"address": "unix:@abstract"}),
        (Connect, {"address": "192.0.2.1:80"}),
        (Chdir, {"path": "/home"}),
        (Socket, {"family": socket.AF_UNIX, "type": socket.SOCK_STREAM}),
    ],
)
def test_inside_is_free(operation, fields):
    """What is listed, the devices that everybody has, and what is open already."""
    assert says(operation, **fields) == Allow()


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Open, {"path": "/home/f"}),
        (Open, {"path": "/"}),
        (Open, {"path": "/etc"}),
        (Open, {"path": "/srvx/f"}),
        (Open, {"path": "/srv/../home/f"}),
        (Open, {"path": "/srv/link/f"}),
        (Open, {"path": "/srv/dots"}),
        (Open, {"path": "/home/f", "flags": os.O_PATH}),
        (Open, {"path": "/usr/f", "flags": os.O_WRONLY}),
        (Open, {"path": "/usr", "flags": os.O_RDWR | os.O_TMPFILE}),
        (Open, {"dirfd": 5, "pathname": "f"}),
        (Open, {"path": "/dev/sda"}),
        (Exec, {"path": "/home/f"}),
        (Stat, {"path": "/home"}),
        (Access, {"path": "/usr/f", "wanted": os.W_OK}),
        (Access, {"path": "/", "wanted": os.W_OK}),
        (Access, {"path": "/etc", "wanted": os.R_OK | os.W_OK}),
        (Chmod, {"fd": 4, "mode": 0, "syscall": "fchmod"}),
        (Chmod, {"path": "/dev/null", "mode": 0}),
        (Rename, {"oldpath": "/srv/a", "newpath": "/usr/a"}),
        (Rename, {"oldpath": "/usr/a", "newpath": "/srv/a"}),
        (Link, {"oldpath": "/usr/f", "newpath": "/srv/f"}),
        (Symlink, {"content": "x", "linkpath": "/home/x"}),
        (Bind, {"path": "/usr/socket"}),
        (Connect, {"path": "/usr/socket"}),
        (Connect, {"path": "/srv/link/socket"}),
        (Socket, {"family": socket.AF_UNIX, "type": socket.SOCK_DGRAM}),
    ],
)
def test_outside_is_closed(operation, fields):
    """Whatever the path looks like; what is for reading is for nothing else."""
    assert says(operation, **fields) == errno.EACCES


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        (Mount, {}),
        (IoUring, {}),
        (Ptrace, {}),
        (Ioctl, {"request": 0x40086602}),
        (Ioctl, {"request": TIOCSTI}),
        (PerfEventOpen, {}),
        (Mknod, {"path": "/srv/disk", "mode": stat.S_IFBLK, "device": (8, 0)}),
    ],
)
def test_ways_round_are_refused(operation, fields):
    """In the kernel."""
    assert says(operation, **fields) == errno.EPERM


def test_the_system_can_be_read_by_default():
    """So that programs start."""
    rules = load_rules(*RULES, allow="/srv")
    assert says(Open, rules, path="/usr/lib/x.so") == Allow()
    for name in ("ld.so.cache", "gitconfig", "ssl/openssl.cnf", "ssl/certs/x.pem"):
        assert says(Open, rules, path=f"/etc/{name}") == Allow()
    assert says(Open, rules, path="/etc/shadow") == errno.EACCES


def test_proc_has_no_place_on_a_list():
    """/proc/self would be the supervisor's own."""
    with pytest.raises(UsageError, match="who looks"):
        load_rules(*RULES, read="/proc/self")


# -- the real kernel


@pytest.fixture
def places(everybodys):
    """Inside, and outside: a secret, a tree, a program, sockets that somebody listens to."""
    inside, outside = everybodys / "inside", everybodys / "outside"
    for one in (inside, outside, outside / "tree", outside / "empty"):
        one.mkdir()
        one.chmod(0o777)
    for path, text in (
        (inside / "own", "own"),
        (outside / "secret", "SECRET"),
        (outside / "tree" / "leaf", "SECRET"),
        (outside / "tool", "#!/bin/sh\necho SECRET\n"),
    ):
        path.write_text(text)
        path.chmod(0o777)
    os.setxattr(outside / "secret", "user.is", b"SECRET")
    (outside / "points").symlink_to("SECRET")
    shutil.copy(WAYS_OUT, inside)
    with ExitStack() as stack:
        for name, kind in (("socket", socket.SOCK_STREAM), ("datagrams", socket.SOCK_DGRAM)):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            sock.bind(str(outside / name))
            (outside / name).chmod(0o777)
            if kind == socket.SOCK_STREAM:
                sock.listen()
        yield inside, outside


@pytest.fixture
def tries(places, user, system_python, monkeypatch):
    """The words that start a program which tries every way, and the descriptor it inherits."""
    inside, outside = places
    monkeypatch.setenv("NUMBERS", json.dumps(dict(native().numbers)))
    name = NOBODY if user else None
    with ExitStack() as stack:
        other = stack.enter_context(
            subprocess.Popen(["/bin/sleep", "100"], env={}, user=name, group=name)
        )
        stack.callback(other.kill)
        root = os.open("/", os.O_PATH)
        stack.callback(os.close, root)
        words = [system_python, "-I", inside / WAYS_OUT.name, inside, outside, root, other.pid]
        yield [str(word) for word in words], root


def state(folder):
    """All that one can see of a folder and what is in it."""
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        held = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((path, status[:7], status.st_mtime_ns, status.st_ctime_ns, held))
    return found


def test_there_is_no_way_out(run, places, tries, user):
    """A hundred are tried; none gets anything, and outside nothing changes."""
    inside, outside = places
    words, root = tries
    before, system = state(outside), os.stat("/usr/bin/true")
    ran = run(RULES, *words, user=user, fds=(root,), allow=str(inside))
    assert ran.status == 0, ran.err
    assert len(ran.found) > 100
    assert {
        name: found for name, found in ran.found.items() if found not in ("EACCES", "EPERM")
    } == {"openat2 in root": "ENOENT"}  # below that root, which is inside, there is none
    assert "SECRET" not in ran.out
    assert state(outside) == before
    assert os.stat("/usr/bin/true").st_ctime_ns == system.st_ctime_ns


@pytest.mark.parametrize("user", ["nobody"], indirect=True)
def test_the_ways_are_open_without_the_rule(places, tries):
    """So the test above shows something."""
    words, root = tries
    done = subprocess.run(
        words,
        user=NOBODY,
        group=NOBODY,
        pass_fds=[root],
        stdin=subprocess.DEVNULL,  # one of the ways types into the terminal
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    out = {name for name, one in found.items() if str(one).startswith("OUT")}
    assert len(out) > 30
    assert {"link", "cwd", "descriptor of the root", "rename in", "connect", "post"} <= out
    assert places


WORK = """
set -e; cd {inside}; PATH=/usr/bin:/bin
echo 1 > a; cp a b; mv b c; ln c d; ln -s a e; cat e d; ls -la > list; mkdir -p x/y/z; touch a
tar -cf t.tar a e x; mkdir out; tar -C out -xf t.tar; cat out/a; rm -r out x; find . -name a
{python} -c 'import pathlib; print(pathlib.Path("e").resolve(strict=True))'
echo lost > /dev/null; test -w a; ! test -w /usr/bin; stat -c %U /usr/bin/env; id -un
"""


def test_programs_work_inside(shell, places, user, system_python):
    """Copies, links, archives, lists, and a script of Python's."""
    inside, _ = places
    script = WORK.format(inside=inside, python=system_python)
    ran = shell("only-below", script, user=user, allow=str(inside))
    name = user or pwd.getpwuid(os.getuid()).pw_name
    assert ran.status == 0, ran.err
    assert ran.out.split() == ["1", "1", "1", "./a", str(inside / "a"), "root", name]


@pytest.fixture
def flipping(places):
    """A link inside that somebody else turns between inside and outside, as fast as it goes."""
    inside, outside = places
    stop = threading.Event()

    def flip(link, own, other):
        aside = link.with_name("aside")
        while not stop.is_set():
            for target in (own, other):
                aside.symlink_to(target)
                aside.rename(link)

    def begin(own, other):
        link = inside / "flip"
        link.symlink_to(own)
        thread = threading.Thread(target=flip, args=(link, own, outside / other))
        thread.start()
        stack.callback(thread.join)
        return link

    with ExitStack() as stack:
        yield begin
        stop.set()


TRIES = 2000
OFTEN = """if True:
    import socket, sys
    def connect(path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            return sock.recv(64).decode()
    def read(path):
        return open(path).read()
    for _ in range(int(sys.argv[3])):
        try:
            print(globals()[sys.argv[1]](sys.argv[2]))
        except OSError as error:
            print(error.errno)
"""


def often(run, python, what, link, inside, rules=RULES, **more):
    """What a program got that tried very often."""
    words = [python, "-I", "-c", OFTEN, what, str(link), str(TRIES)]
    ran = run(rules, *words, allow=str(inside), **more)
    assert ran.status == 0, ran.err
    found = ran.out.split()
    assert len(found) == TRIES
    return set(found)


def test_links_that_flip_lead_nowhere(run, places, flipping, system_python):
    """What is opened is what was judged."""
    link = flipping("own", "secret")
    found = often(run, system_python, "read", link, places[0])
    assert {"own", str(errno.EACCES)} <= found
    assert "SECRET" not in found


def test_links_that_flip_where_another_rule_leads_lead_nowhere(
    run, places, flipping, system_python
):
    """The place that a path is led to is judged, and what was judged is opened."""
    flipping("own", "secret")
    inside, _ = places
    lead = {"redirect-home.from": "/nowhere", "redirect-home.to": str(inside)}
    rules = ["redirect-home", *RULES]
    found = often(run, system_python, "read", "/nowhere/flip", inside, rules, **lead)
    assert {"own", str(errno.EACCES)} <= found
    assert "SECRET" not in found


def test_sockets_behind_links_that_flip_are_not_reached(run, places, flipping, system_python):
    """What is connected to is what was judged."""
    inside, outside = places
    with answering(inside / "socket", b"own"), answering(outside / "other", b"SECRET"):
        link = flipping("socket", "other")
        found = often(run, system_python, "connect", link, inside)
    assert {"own", str(errno.EACCES)} <= found
    assert "SECRET" not in found


@contextmanager
def answering(path, text):
    """A daemon that says one thing to everybody."""

    def serve():
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            with peer:
                peer.sendall(text)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        path.chmod(0o777)
        sock.listen(64)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        sock.shutdown(socket.SHUT_RDWR)
        thread.join()
