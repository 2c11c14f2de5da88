"""What a path means to another process: its root, its links, its /proc/self."""

import errno
import os
import subprocess
import sys

import pytest

from notifyd.errors import TargetFault
from notifyd.kernel import statmount
from notifyd.kernel.limits import MAX_LINKS
from notifyd.target import view
from notifyd.target.paths import Resolver, WouldBlock, _Resolution

HERE = -100  # AT_FDCWD


@pytest.fixture
def resolve(tmp_path):
    """Resolve for a process whose working directory is `tmp_path`: `resolve(path, follow=...)`."""
    process = subprocess.Popen(["sleep", "1000"], cwd=tmp_path)
    made = Resolver(process.pid)

    def resolver(path, *, follow=True, dirfd=HERE, again=True):
        try:
            return os.fsdecode(made.resolve(dirfd, os.fsencode(path), follow))
        except WouldBlock as slow:
            if not again:
                raise
            slow.look()
            return resolver(path, follow=follow, dirfd=dirfd, again=False)

    resolver.pid = process.pid
    resolver.forget = made._found.clear
    yield resolver
    process.kill()
    process.wait()


@pytest.mark.parametrize("follow", [True, False])
def test_what_is_not_there_is_named_as_it_would_be_made(follow, resolve, tmp_path):
    """A new file, below what is there and what is not."""
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "real").mkdir()
    assert resolve("new", follow=follow) == f"{tmp_path}/new"
    assert resolve("way/new", follow=follow) == f"{tmp_path}/real/new"
    assert resolve("none/new", follow=follow) == f"{tmp_path}/none/new"


def test_the_last_link_is_followed_only_where_the_call_does(resolve, tmp_path):
    """With `follow` the target of the link, and that of a dangling one too."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    assert resolve("link") == f"{tmp_path}/file"
    assert resolve("link", follow=False) == f"{tmp_path}/link"
    assert resolve("dangling") == f"{tmp_path}/nothing"
    assert resolve("dangling", follow=False) == f"{tmp_path}/dangling"


def test_a_slash_at_the_end_follows(resolve, tmp_path):
    """As the kernel does: the link is a directory that is walked into."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    assert resolve("link/", follow=False) == f"{tmp_path}/sub"


def test_too_many_links_stay_as_they_are(resolve, tmp_path):
    """A chain as long as the kernel takes is resolved, a longer one and a circle are not."""
    (tmp_path / "0").touch()
    for at in range(1, MAX_LINKS + 3):
        (tmp_path / str(at)).symlink_to(str(at - 1))
    assert resolve(str(MAX_LINKS)) == f"{tmp_path}/0"
    assert resolve(str(MAX_LINKS + 1)) != f"{tmp_path}/0"
    (tmp_path / "circle").symlink_to("circle")
    assert resolve("circle") == f"{tmp_path}/circle"


def test_proc_self_is_the_target(resolve):
    """Never us who look."""
    assert resolve("/proc/self/status") == f"/proc/{resolve.pid}/status"
    assert resolve("/proc/thread-self/status").startswith(f"/proc/{resolve.pid}/task/")
    assert resolve("/proc/self", follow=False) == "/proc/self"


def test_a_descriptor_that_is_not_there(resolve):
    """EBADF, which is the target's fault."""
    with pytest.raises(OSError) as caught:
        resolve("x", dirfd=987)
    assert caught.value.errno == errno.EBADF


def test_bytes_survive(resolve, tmp_path):
    """A name that is no UTF-8 is that name."""
    name = os.fsdecode(b"\xff\xfe")
    assert resolve(name) == f"{tmp_path}/{name}"


def test_what_had_to_wait_is_looked_up_once(tmp_path):
    """The second resolution of a slow path costs nothing, error or not."""
    made = Resolver(os.getpid())
    path = os.fsencode(tmp_path / "never seen")
    try:
        made.resolve(HERE, path, True)
    except WouldBlock as slow:
        slow.look()
    assert made.resolve(HERE, path, True) == path


def test_nothing_is_left_open(resolve, tmp_path):
    """Looking leaves no descriptor behind, whatever comes of it."""
    (tmp_path / "link").symlink_to("none/none")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("link", "none/none", "/proc/self/fd/0", "/", "", ".", "..", "/dev/null/x"):
        resolve(path)
    assert len(os.listdir("/proc/self/fd")) == before


HEADS = [
    "", "./", "sub/", "way/", "round/", "none/", "sub/../", "way/..//", "file/", "abs/",
]  # fmt: skip
MIDDLES = ["", "deep/", "up/", "loop/", "/proc/", "/proc/self/", "/proc/self/cwd/"]
LASTS = [
    "", ".", "..", "file", "new", "link", "dangling", "loop", "new/", "link/", "up/new",
]  # fmt: skip
SHAPES = [f"{head}{middle}{last}" for head in HEADS for middle in MIDDLES for last in LASTS]


def test_the_kernels_walk_and_ours_agree(resolve, tmp_path, monkeypatch):
    """Wherever both can be taken; links in the middle, at the end, that lead up and nowhere."""
    for folder in (tmp_path, tmp_path / "sub", tmp_path / "sub" / "deep"):
        folder.mkdir(exist_ok=True)
        (folder / "file").touch()
        for name, target in [
            ("link", "file"), ("way", "sub"), ("round", "./sub/../sub"), ("up", ".."),
            ("dangling", "none/x"), ("loop", "loop"), ("abs", str(tmp_path / "sub")),
        ]:  # fmt: skip
            (folder / name).symlink_to(target)
    shapes = [(path, follow) for path in SHAPES for follow in (True, False)]
    quick = [resolve(path, follow=follow) for path, follow in shapes]
    monkeypatch.setattr(_Resolution, "_led", lambda *_: None)
    resolve.forget()
    slow = [resolve(path, follow=follow) for path, follow in shapes]
    different = [
        (shape, one, other)
        for shape, one, other in zip(shapes, quick, slow, strict=True)
        if one != other
    ]
    assert different == []


def test_renames_elsewhere_are_no_hindrance(resolve, tmp_path):
    """The kernel gives up a walk with dots (EAGAIN) when anything is renamed meanwhile."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "a").touch()
    storm = "import os\nwhile True: os.rename('a', 'b'); os.rename('b', 'a')"
    with subprocess.Popen([sys.executable, "-c", storm], cwd=tmp_path) as process:
        try:
            for many in range(1, 1000):  # each its own, since what had to wait is kept
                assert resolve("sub/../" * 20 + "/" * many + "file") == f"{tmp_path}/file"
        finally:
            process.kill()


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """A working directory with a path of 5,000 bytes; its name."""
    monkeypatch.chdir(tmp_path)
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    return f"{tmp_path}" + ("/" + "d" * 250) * 20


def looked(made, path, follow=True, rooted=False):
    """Resolve, and wait if that has to be."""
    try:
        return os.fsdecode(made.resolve(HERE, os.fsencode(path), follow, rooted))
    except WouldBlock as slow:
        slow.look()
        return os.fsdecode(made.resolve(HERE, os.fsencode(path), follow, rooted))


def test_names_may_be_longer_than_the_kernel_tells(deep):
    """Files, directories, links and what is not there yet, below a working directory that deep."""
    os.mkdir("sub")
    open("sub/file", "w").close()
    os.symlink("sub/file", "link")
    made = Resolver(os.getpid())
    for path, name in {
        ".": "", "sub": "/sub", "sub/file": "/sub/file", "link": "/sub/file", "new": "/new",
        "sub/../sub/new": "/sub/new", "../" + "d" * 250 + "/sub": "/sub",
    }.items():  # fmt: skip
        assert looked(made, path) == deep + name
    assert looked(made, "link", False) == deep + "/link"
    assert looked(made, "..") == os.path.dirname(deep)


def test_a_name_that_is_out_of_reach_is_none(deep, monkeypatch):
    """Looking for it has its limits, and beyond them the target is refused."""
    monkeypatch.setattr(view, "MAX_CLIMBED_LEVELS", 2)
    with pytest.raises(TargetFault) as caught:
        looked(Resolver(os.getpid()), "new")
    assert caught.value.errno == errno.EACCES


def test_the_mounts_of_a_walk_are_told(resolve, tmp_path):
    """Where it began, and where links of /proc led; none where it came from the root alone."""
    os.mkdir(tmp_path / "sub")
    made = Resolver(resolve.pid)
    here = os.open(tmp_path, os.O_PATH)
    mount = statmount.mount_of(here)
    os.close(here)
    for path, mounts in {
        "sub": {mount}, "/proc/self/cwd/sub": {mount}, str(tmp_path / "sub"): {mount}, "/": set(),
    }.items():  # fmt: skip
        assert set(made.mounts.get(os.fsencode(looked(made, path)), ())) == mounts
    assert not made.apart
