"""What rules about files share."""

from pathlib import PurePosixPath

import pytest

from notifyd import Open, Rename, Stat, Unlink
from notifyd.rulekit import files
from notifyd.testing import make_call

PLACES = (PurePosixPath("/a/b"), PurePosixPath("/c"))


class Looking(Stat):
    """A call of a program whose process id is 7."""

    __slots__ = ()

    def resolve(self, dirfd, pathname, follow, *, rooted=False):
        assert (pathname, follow) == (b"/proc/self", True)
        return PurePosixPath("/proc/7")


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/proc/7", True),
        ("/proc/7/maps", True),
        ("/proc/7/task/8/stat", True),
        ("/proc/7/mounts", False),
        ("/proc/7/net/tcp", False),
        ("/proc/7/task/8/mountinfo", False),
        ("/proc/70/maps", False),
        ("/proc/8/maps", False),
        ("/proc/self", False),
        ("/proc/meminfo", False),
        ("/proc", False),
        ("/srv/7/maps", False),
    ],
)
def test_own_proc_is_about_the_program_alone(path, own):
    """Neither another process, nor the lists of mounts and of the network."""
    assert files.is_own_proc(object.__new__(Looking), PurePosixPath(path)) is own


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (b"/dev/fd/0", True),
        (b"/dev/stdin", True),
        (b"/proc/self/fd/12", True),
        (b"/proc/thread-self/fd/3", True),
        (b"/proc/1/fd/3", False),
        (b"/proc/self/fd/../fd/3", False),
        (b"/proc/self/fd/3\n", False),
        (b"/dev/fd/", False),
        (b"/dev/stdin/x", False),
    ],
)
def test_own_descriptors_are_named_by_a_few_texts(text, own):
    """Anything else could lead to another program's."""
    assert files.names_own_descriptor(text) is own


@pytest.mark.parametrize(
    ("operation", "path", "changed"),
    [
        (Unlink, "/a/b", True),
        (Unlink, "/a/b/x", True),
        (Unlink, "/a", False),
        (Unlink, "/a/bb", False),
        (Rename, "/a", True),
        (Rename, "/", True),
        (Rename, "/d", False),
    ],
)
def test_a_rename_above_a_place_changes_it(operation, path, changed):
    """Everything below moves along; to remove a directory, it has to be empty."""
    assert files.changes_below(make_call(operation), PurePosixPath(path), PLACES) is changed


def test_memory_of_processes_is_known_by_its_name():
    """Of processes and of their threads, and not a file elsewhere."""
    memory = [PurePosixPath(one) for one in ("/proc/1/mem", "/proc/1/task/2/mem")]
    assert all(files.is_process_memory(one) for one in memory)
    assert not files.is_process_memory(PurePosixPath("/srv/mem"))


def test_places_compare_with_paths_of_calls():
    """They are absolute, and each is there once."""
    for places in (files.SYSTEM_PLACES, files.SAFE_DEVICES, files.SELF_LINKS):
        assert all(one.is_absolute() and ".." not in one.parts for one in places)
    assert len(set(files.SYSTEM_PLACES)) == len(files.SYSTEM_PLACES)
    assert make_call(Open, path="/dev/null").path in files.SAFE_DEVICES
