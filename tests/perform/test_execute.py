"""Orders, done in our own process: paths are pinned, and the effect goes where they were."""

import errno
import os
import stat

import pytest

from notifyd.kernel.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from notifyd.perform.helper_request import ArgumentUse, LastComponent, Need, Place, Slot

FLAGS_READ = (os.O_RDONLY, 0, 0)
MAKE = (os.O_CREAT | os.O_WRONLY, 0o666, 0)
MKDIR = (Slot(ArgumentUse.AT, 0), 0o777)


def place(path, last=LastComponent.FOLLOW, seen=None):
    return Place(-1, os.fsencode(path), last, os.fsencode(seen) if seen else None)


@pytest.fixture
def tree(tmp_path):
    """A file, a directory, a FIFO, and links to files, to each other and to nothing."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("text")
    (tmp_path / "dir").mkdir()
    for name, text in {
        "link": "file",
        "dirlink": "dir",
        "dangling": "missing",
        "loop": "loop",
    }.items():
        (tmp_path / name).symlink_to(text)
    return tmp_path


def read(descriptor):
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_an_open_gives_a_descriptor(execute, tree):
    """Of the file that the link led to."""
    reply, descriptor = execute("open", [place(tree / "link")], FLAGS_READ)
    assert (reply.errno, read(descriptor)) == (0, b"text")


@pytest.mark.parametrize(
    ("name", "flags", "number"),
    [
        ("missing", 0, errno.ENOENT),
        ("file/x", 0, errno.ENOTDIR),
        ("file/", 0, errno.ENOTDIR),
        ("loop", 0, errno.ELOOP),
        ("link", os.O_NOFOLLOW, errno.ELOOP),
        ("dir", os.O_WRONLY, errno.EISDIR),
        ("file", os.O_DIRECTORY, errno.ENOTDIR),
        ("file", os.O_CREAT | os.O_EXCL, errno.EEXIST),
        ("dangling", os.O_CREAT | os.O_EXCL, errno.EEXIST),
        ("dangling", os.O_CREAT | os.O_NOFOLLOW, errno.ELOOP),
        ("new/", os.O_CREAT, errno.EISDIR),
        ("x" * 256, 0, errno.ENAMETOOLONG),
        ("link", os.O_PATH | os.O_NOFOLLOW, errno.EOPNOTSUPP),
        ("fifo", os.O_PATH | os.O_NOFOLLOW, errno.EOPNOTSUPP),
    ],
)
def test_an_open_fails_as_the_kernels(name, flags, number, execute, tree):
    """Each with the errno that open(2) has for it; the last two are notifyd's own."""
    last = LastComponent.NOFOLLOW if flags & os.O_NOFOLLOW else LastComponent.FOLLOW
    if flags & os.O_CREAT:
        last = (
            LastComponent.MADE_HERE if flags & (os.O_EXCL | os.O_NOFOLLOW) else LastComponent.MADE
        )
    reply, descriptor = execute("open", [place(f"{tree}/{name}", last)], (flags, 0o600, 0))
    assert (reply.errno, descriptor) == (number, None)


def test_a_file_is_made_behind_a_link_with_the_umask(execute, tree):
    """A dangling link names the file to make; the mode is cut by the umask."""
    before = os.umask(0)
    try:
        reply, descriptor = execute(
            "open", [place(tree / "dangling", LastComponent.MADE)], MAKE, umask=0o27
        )
    finally:
        os.umask(before)
    os.close(descriptor)
    assert reply.errno == 0
    assert stat.S_IMODE((tree / "missing").stat().st_mode) == 0o640


def test_what_moved_is_left_alone(execute, tree):
    """The rule saw another name than the path has now: nothing is made, opened or removed."""
    seen = tree / "elsewhere"
    reply, descriptor = execute("open", [place(tree / "link", seen=seen)], FLAGS_READ)
    assert (reply.need, descriptor) == (Need.MOVED, None)
    reply, _ = execute(
        "mkdirat",
        [place(tree / "dirlink/new", LastComponent.NAME, seen)],
        [Slot(ArgumentUse.AT, 0), 0o777],
    )
    assert reply.need == Need.MOVED
    assert list((tree / "dir").iterdir()) == []


def test_what_the_rule_saw_is_done(execute, tree):
    """A path through a link, by the name that it resolves to."""
    seen = tree / "dir/new"
    reply, _ = execute(
        "mkdirat",
        [place(tree / "dirlink/new", LastComponent.NAME, seen)],
        [Slot(ArgumentUse.AT, 0), 0o777],
    )
    assert reply.errno == 0
    assert seen.is_dir()


def test_proc_self_is_somebody_elses(execute, child):
    """It is the target's, and asked for where nobody said whose."""
    path = place("/proc/self/status")
    reply, _ = execute("open", [path], FLAGS_READ)
    assert reply.need == Need.SELVES
    selves = ((child.pid,),) * 2
    _, descriptor = execute("open", [path], FLAGS_READ, selves=selves)
    assert f"Pid:\t{child.pid}\n".encode() in read(descriptor)
    link = [Slot(ArgumentUse.FD, 0), b"", Slot(ArgumentUse.OUT, 64), 64]
    reply, _ = execute(
        "readlinkat", [place("/proc/self", LastComponent.NOFOLLOW)], link, selves=selves
    )
    assert reply.outs == (str(child.pid).encode(),)
    reply, _ = execute(
        "readlinkat", [place("/proc/thread-self/exe", LastComponent.NOFOLLOW)], link, selves=selves
    )
    assert reply.outs[0][: reply.value].endswith(b"sleep")


def test_a_descriptor_of_proc_is_the_targets(execute, child):
    """/dev/stdin and /proc/self/fd/N lead to what the target has there, or fail as its own."""
    selves = ((child.pid,),) * 2
    child.stdin.write(b"for the child\n")
    child.stdin.flush()
    _, descriptor = execute("open", [place("/dev/stdin")], FLAGS_READ, selves=selves)
    assert os.read(descriptor, 100) == b"for the child\n"
    os.close(descriptor)
    reply, _ = execute("open", [place("/proc/self/fd/77")], FLAGS_READ, selves=selves)
    assert reply.errno == errno.ENOENT


def test_readlink_of_no_link_is_einval(execute, tree):
    """As readlink(2) has it for what is no link."""
    args = [Slot(ArgumentUse.FD, 0), b"", Slot(ArgumentUse.OUT, 64), 64]
    reply, _ = execute("readlinkat", [place(tree / "file", LastComponent.NOFOLLOW)], args)
    assert reply.errno == errno.EINVAL


def test_a_file_does_not_grow_beyond_the_limit(execute, tree):
    """RLIMIT_FSIZE of the target, for this call alone."""
    args = [Slot(ArgumentUse.PATH, 0), 1000]
    reply, _ = execute("truncate", [place(tree / "file")], args, limit=10)
    assert reply.errno == errno.EFBIG
    reply, _ = execute("truncate", [place(tree / "file")], args)
    assert reply.errno == 0
    assert (tree / "file").stat().st_size == 1000


def test_no_effect_through_dots(execute, tree):
    """The kernel refuses `.` and `..` as names, and so does an order, whatever the rule saw."""
    for name in (".", "..", "dir/..", "/"):
        path = name if name == "/" else f"{tree}/{name}"
        reply, _ = execute(
            "unlinkat", [place(path, LastComponent.NAME, tree)], [Slot(ArgumentUse.AT, 0), 0x200]
        )
        assert reply.errno in (errno.EINVAL, errno.ENOTEMPTY, errno.EBUSY)
    assert (tree / "dir").is_dir()


def test_limits_of_openat2(execute, tree):
    """They hold on the way, in /proc as elsewhere."""
    reply, _ = execute("openat2", [place(tree / "link")], (0, 0, RESOLVE_NO_SYMLINKS))
    assert reply.errno == errno.ELOOP
    reply, _ = execute("openat2", [place("/proc/self/comm")], (0, 0, RESOLVE_NO_SYMLINKS))
    assert reply.errno == errno.ELOOP
    reply, _ = execute("openat2", [place("/proc/version")], (0, 0, RESOLVE_NO_XDEV))
    assert reply.errno == errno.EXDEV


def test_a_root_of_its_own_needs_a_descriptor(execute, tree):
    """RESOLVE_IN_ROOT of a path that a rule gave: there is no root for it, and nothing is done."""
    reply, _ = execute("openat2", [place(tree / "file")], (0, 0, RESOLVE_IN_ROOT))
    assert reply.need == Need.CANNOT


@pytest.mark.parametrize(
    ("text", "limits", "made"),
    [
        ("missing", RESOLVE_BENEATH, "missing"),
        ("dir/../missing", RESOLVE_BENEATH | RESOLVE_NO_XDEV, "missing"),
        ("/dir/missing", RESOLVE_IN_ROOT, "dir/missing"),
        ("../../missing", RESOLVE_IN_ROOT, "missing"),
        ("/missing", RESOLVE_BENEATH, errno.EXDEV),
        ("../missing", RESOLVE_BENEATH, errno.EXDEV),
        ("/proc/missing", RESOLVE_NO_XDEV, errno.EXDEV),
        ("missing", RESOLVE_NO_SYMLINKS, errno.ELOOP),
    ],
)
def test_what_is_made_behind_a_link_is_within_the_limits(text, limits, made, execute, tree):
    """As the kernel has it, of a link whose file is not there."""
    (tree / "way").symlink_to(text)
    start = os.open(tree, os.O_PATH)
    try:
        way = Place(0, b"way", LastComponent.MADE)
        reply, descriptor = execute("openat2", [way], (os.O_CREAT, 0o600, limits), start)
    finally:
        os.close(start)
    if isinstance(made, int):
        assert reply.errno == made
    else:
        os.close(descriptor)
        assert (tree / made).is_file()


@pytest.mark.parametrize("call", ["mkdirat", "unlinkat"])
def test_an_empty_path_is_no_name(call, execute, tree):
    """It is ENOENT, and not the entry of /proc/self/fd that its start has."""
    start = os.open(tree, os.O_PATH)
    try:
        empty = Place(0, b"", LastComponent.NAME)
        reply, _ = execute(call, [empty], [Slot(ArgumentUse.AT, 0), 0], start)
    finally:
        os.close(start)
    assert reply.errno == errno.ENOENT
