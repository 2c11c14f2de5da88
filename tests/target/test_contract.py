"""What every target promises, whether it is a real thread or made of values."""

import contextlib
import errno
import mmap
from pathlib import PurePosixPath

import pytest

from notifyd.errors import RuleError, TargetFault, TargetGone
from notifyd.target.paths import WouldBlock
from notifyd.target.thread import StoppedThread
from notifyd.target.vectors import MAX_INLINE_STRINGS

AT_FDCWD = -100
PAGE = mmap.PAGESIZE


@contextlib.contextmanager
def faults(number: int):
    """Expect a TargetFault with this errno."""
    with pytest.raises(TargetFault) as caught:
        yield
    assert caught.value.errno == number


def test_bytes_are_read_exactly(stage):
    """Any size, also across pages; nothing at all is no look."""
    assert stage.target.read(stage.base, 5) == b"hello"
    assert stage.target.read(stage.base + PAGE - 3, 6) == b"across"
    assert stage.target.read(stage.base, 0) == b""
    assert len(stage.target.read(stage.base, 2 * PAGE)) == 2 * PAGE


def test_what_cannot_be_read_is_a_fault(stage):
    """Null, an address of nobody's, and one byte too many."""
    with faults(errno.EFAULT):
        stage.target.read(0, 1)
    with faults(errno.EFAULT):
        stage.target.read(1 << 63, 8)
    with faults(errno.EFAULT):
        stage.target.read(stage.base + 2 * PAGE - 4, 5)


def test_too_much_is_refused(stage):
    """A rule that reads without bounds is wrong, not the target."""
    with pytest.raises(RuleError):
        stage.target.read(stage.base, 1 << 30)


def test_strings_end_at_their_nul(stage):
    """Also across pages, and right before memory ends."""
    assert stage.target.read_string(stage.base, 4096) == b"hello"
    assert stage.target.read_string(stage.base + 5, 4096) == b""
    assert stage.target.read_string(stage.base + PAGE - 3, 4096) == b"across"
    assert stage.target.read_string(stage.base + 2 * PAGE - 4, 4096) == b"end"


def test_strings_have_a_limit_that_counts_the_nul(stage):
    """As PATH_MAX does."""
    assert stage.target.read_string(stage.base, 6) == b"hello"
    with faults(errno.ENAMETOOLONG):
        stage.target.read_string(stage.base, 5)


def test_a_string_that_is_not_there_is_a_fault(stage):
    """No address, or memory that ends before the string does."""
    with faults(errno.EFAULT):
        stage.target.read_string(0, 4096)
    stage.target.write(stage.base + 2 * PAGE - 4, b"xxxx")
    with faults(errno.EFAULT):
        stage.target.read_string(stage.base + 2 * PAGE - 4, 4096)


@pytest.mark.parametrize("word", [4, 8])
def test_vectors_of_strings(stage, word):
    """Pointers of either width, up to a null one; a null vector is empty."""
    out_of_reach = word == 4 and stage.base >> 32  # of a real 64-bit child
    pointers = [] if out_of_reach else [stage.base, stage.base + PAGE - 3]
    data = b"".join(one.to_bytes(word, "little") for one in [*pointers, 0])
    stage.target.write(stage.base + 64, data)
    expected = (b"hello", b"across")[: len(pointers)]
    assert stage.target.read_strings(stage.base + 64, word, 10, 1000) == expected
    assert stage.target.read_strings(0, word, 10, 1000) == ()


def test_vectors_have_limits(stage):
    """In number and in bytes: E2BIG, as execve(2) has it. What is in them can fault too."""
    data = b"".join(one.to_bytes(8, "little") for one in [stage.base] * 3 + [0])
    stage.target.write(stage.base + 64, data)
    assert len(stage.target.read_strings(stage.base + 64, 8, 3, 18)) == 3
    with faults(errno.E2BIG):
        stage.target.read_strings(stage.base + 64, 8, 2, 1000)
    with faults(errno.E2BIG):
        stage.target.read_strings(stage.base + 64, 8, 10, 12)
    stage.target.write(stage.base + 64, (8).to_bytes(8, "little"))
    with faults(errno.EFAULT):
        stage.target.read_strings(stage.base + 64, 8, 10, 1000)


def test_long_vectors_are_read_where_others_do_not_wait(stage):
    """What is more than some strings is there at the second time of asking, or what is wrong."""
    count = MAX_INLINE_STRINGS + 2
    data = b"".join(one.to_bytes(8, "little") for one in [stage.base] * count + [0])
    stage.target.write(stage.base + 64, data)
    place = stage.base + 64, 8
    for most in (count, count - 1):
        if isinstance(stage.target, StoppedThread):
            with pytest.raises(WouldBlock) as long:
                stage.target.read_strings(*place, most, 1 << 20)
            long.value.look()
        if most == count:
            assert stage.target.read_strings(*place, most, 1 << 20) == (b"hello",) * count
        else:
            with faults(errno.E2BIG):
                stage.target.read_strings(*place, most, 1 << 20)


def test_what_is_written_is_there(stage):
    """All of it, and nothing beside it."""
    stage.target.write(stage.base + PAGE - 1, b"\1\2")
    assert stage.peek(stage.base + PAGE - 3, 5) == b"ac\1\2s"
    assert stage.target.read(stage.base + PAGE - 3, 5) == b"ac\1\2s"


def test_where_nothing_can_be_written(stage):
    """A fault, as for reading."""
    with faults(errno.EFAULT):
        stage.target.write(8, b"x")


@pytest.mark.parametrize(
    ("pathname", "follow", "expected"),
    [
        (b"new", True, "{cwd}/new"),
        (b"./sub//file", True, "{cwd}/sub/file"),
        (b"sub/../new", True, "{cwd}/new"),
        (b"link/file", False, "{cwd}/sub/file"),
        (b"link", True, "{cwd}/sub"),
        (b"link", False, "{cwd}/link"),
        (b"link/", False, "{cwd}/sub"),
        (b"absolute/file", False, "{cwd}/sub/file"),
        (b"absolute/../new", False, "{cwd}/new"),
        (b"loop/x", True, "{cwd}/loop/x"),
        (b"", True, "{cwd}"),
        (b"/", True, "/"),
        (b"/../..", True, "/"),
        (b"missing/x", True, "{cwd}/missing/x"),
        (b"/nowhere/x", True, "/nowhere/x"),
        (b"\xff\xc3", True, "{cwd}/\udcff\udcc3"),
        (b"/proc/self/status", True, "/proc/{pid}/status"),
    ],
)
def test_paths_are_the_targets(stage, pathname, follow, expected):
    """From its working directory, with links resolved, as bytes that survive."""
    wanted = expected.format(cwd=stage.cwd, pid=stage.process["pid"])
    assert stage.resolve(AT_FDCWD, pathname, follow) == PurePosixPath(wanted)


def test_paths_start_at_descriptors(stage):
    """A directory of the target's; an absolute path does not care."""
    assert stage.resolve(stage.dirfd, b"file") == PurePosixPath(stage.cwd / "sub" / "file")
    assert stage.resolve(stage.dirfd, b"") == PurePosixPath(stage.cwd / "sub")
    assert stage.resolve(stage.dirfd, b"../new") == PurePosixPath(stage.cwd / "new")
    assert stage.resolve(999, b"/nowhere") == PurePosixPath("/nowhere")
    with faults(errno.EBADF):
        stage.resolve(999, b"file")


def test_the_process_is_known(stage):
    """Ids, executable, arguments and working directory."""
    process = stage.target.process
    assert {name: getattr(process, name) for name in stage.process} == stage.process
    assert process.start > 0


@pytest.mark.parametrize(
    "look",
    [
        lambda stage: stage.target.read(stage.base, 1),
        lambda stage: stage.target.read_string(stage.base, 100),
        lambda stage: stage.target.read_strings(stage.base, 8, 1, 1),
        lambda stage: stage.target.write(stage.base, b"x"),
        lambda stage: stage.resolve(AT_FDCWD, b"x"),
        lambda stage: stage.target.process.pid,
        lambda stage: stage.target.process.cwd,
    ],
)
def test_a_target_that_is_gone(stage, look):
    """Every look at it says so."""
    stage.leave()
    with pytest.raises(TargetGone):
        look(stage)
