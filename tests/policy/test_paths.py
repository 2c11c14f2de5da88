"""Which paths a call names and which it changes, and the groups of operations about files."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest

import notifyd
from notifyd import (
    BYPASSES,
    PATH_OPERATIONS,
    WRITING_OPERATIONS,
    Bind,
    Chdir,
    Chmod,
    Connect,
    Link,
    Mknod,
    Mount,
    Open,
    Rename,
    Stat,
    Symlink,
    Unlink,
    Utime,
)
from notifyd.errors import TargetFault
from notifyd.policy.fields import Path
from notifyd.policy.operations import OPERATIONS
from notifyd.testing import make_call

A, B = PurePosixPath("/a"), PurePosixPath("/b")
AT_EMPTY_PATH = 0x1000


@pytest.mark.parametrize(
    ("call", "paths", "written"),
    [
        (make_call(Open, path=A), ["path"], []),
        (make_call(Open, path=A, flags=os.O_WRONLY), ["path"], ["path"]),
        (make_call(Open, path=A, flags=os.O_PATH | os.O_RDWR), ["path"], []),
        (make_call(Stat, path=A), ["path"], []),
        (make_call(Unlink, path=A), ["path"], ["path"]),
        (make_call(Mknod, path=A), ["path"], ["path"]),
        (make_call(Symlink, content="/x", linkpath=A), ["linkpath"], ["linkpath"]),
        (make_call(Rename, oldpath=A, newpath=B), ["oldpath", "newpath"], ["oldpath", "newpath"]),
        (make_call(Link, oldpath=A, newpath=B), ["oldpath", "newpath"], ["oldpath", "newpath"]),
        (make_call(Mount, syscall="mount", path=A), ["path"], ["path"]),
        (make_call(Mount, syscall="fsopen", fstype="tmpfs"), [], []),
        (make_call(Bind, path=A), ["path"], ["path"]),
        (make_call(Bind, address="unix:@a"), [], []),
        (make_call(Bind, address="192.0.2.1:80"), [], []),
        (make_call(Bind, address=None), [], []),
        (make_call(Connect, path=A), ["path"], []),
    ],
    ids=repr,
)
def test_what_is_named_and_what_is_changed(call, paths, written):
    """By the fields' names, in the order of the call."""
    places = {"path": A, "linkpath": A, "oldpath": A, "newpath": B}
    assert list(call.paths.items()) == [(name, places[name]) for name in paths]
    assert list(call.written_paths.items()) == [(name, places[name]) for name in written]


@pytest.mark.parametrize(
    ("operation", "fields", "paths", "written"),
    [
        (Stat, {"fd": 3, "syscall": "fstat"}, {}, {}),
        (Stat, {"dirfd": 3, "pathname": "", "flags": AT_EMPTY_PATH}, {}, {}),
        (Open, {"dirfd": 3, "pathname": "x"}, {"path": A / "x"}, {}),
        (Chmod, {"fd": 3, "syscall": "fchmod"}, {"path": A}, {"path": A}),
        (Utime, {"dirfd": 3, "syscall": "utimensat"}, {"path": A}, {"path": A}),
    ],
)
def test_a_descriptor_alone_counts_if_its_file_is_changed(operation, fields, paths, written):
    """What is open may be read, and asked about; changing it is another matter."""
    call = make_call(operation, directories={3: "/a"}, **fields)
    assert (dict(call.paths), dict(call.written_paths)) == (paths, written)


def test_asking_by_descriptor_is_no_look():
    """So the kernel may go on with an fstat."""
    call = make_call(Stat, fd=3, syscall="fstat")
    assert call.paths == {}
    assert not call.looked


def test_a_descriptor_that_is_not_open_is_the_targets_fault():
    """It gets EBADF, as from the kernel."""
    with pytest.raises(TargetFault):
        make_call(Chmod, fd=3, syscall="fchmod").paths  # noqa: B018


def test_a_socket_without_a_path_raises():
    """A rule that judges by the path fails closed on an address that is none."""
    for address in ("unix:@a", "unix:", "192.0.2.1:80", None):
        with pytest.raises(AttributeError, match="no path"):
            make_call(Connect, address=address).path  # noqa: B018


def test_links_of_sockets():
    """connect(2) follows the last link, bind(2) does not."""
    links = {"/a": "/b"}
    assert make_call(Connect, path=A, links=links).path == B
    assert make_call(Bind, path=A, links=links).path == A


def test_a_relative_socket_starts_at_the_cwd():
    """Like every path."""
    assert make_call(Connect, address="unix:s").path == PurePosixPath("/home/user/s")


def test_every_operation_with_a_path_is_in_a_group():
    """A rule about all of them misses none."""
    with_path = {
        one
        for one in OPERATIONS.values()
        if any(isinstance(field, Path) for field in one.fields.values())
    }
    assert with_path <= {*PATH_OPERATIONS, *BYPASSES, Chdir}
    assert set(PATH_OPERATIONS) <= with_path
    assert not set(PATH_OPERATIONS) & set(BYPASSES)


def test_those_that_write():
    """Whatever makes, removes or changes."""
    names = "Bind Chmod Chown Link Mkdir Mknod Open RemoveXattr Rename SetXattr Symlink Truncate"
    assert [one.__name__ for one in WRITING_OPERATIONS] == [*names.split(), "Unlink", "Utime"]
    assert set(WRITING_OPERATIONS) < set(PATH_OPERATIONS)


def test_the_groups_are_exported():
    """A rule file imports them like operations."""
    files = {"BYPASSES", "FILE_REQUESTS", "PATH_OPERATIONS", "WRITING_OPERATIONS"}
    assert files | {"TYPING_REQUESTS"} <= set(notifyd.__all__)
    assert {0x5412, 0x541C} == notifyd.TYPING_REQUESTS
    assert notifyd.TYPING_REQUESTS < notifyd.FILE_REQUESTS
