"""What decides what a path and a power mean to a thread, looked at in real processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from notifyd.kernel import capability, proc
from notifyd.kernel.libc import LIBC
from notifyd.perform.credentials import Credentials
from notifyd.perform.process_context import ProcessContext

CHOWN = 1 << capability.CAPABILITY_NUMBERS["CAP_CHOWN"]


@contextmanager
def changed(change: Callable[[], object]) -> Iterator[int]:
    """A child that made `change` and waits; its pid."""
    told, tell = os.pipe()
    done, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(end)
        os.close(told)
        try:
            change()
            os.write(tell, b".")
            os.read(done, 1)
        finally:
            os._exit(0)
    os.close(done)
    os.close(tell)
    try:
        assert os.read(told, 1) == b"."
        yield pid
    finally:
        os.close(told)
        os.close(end)
        os.waitpid(pid, 0)


def context_of(pid: int) -> ProcessContext:
    """The context of a process."""
    directory = proc.open_dir(pid)
    try:
        return ProcessContext.of(directory)
    finally:
        os.close(directory)


def test_a_child_has_the_context_of_its_parent():
    """It can be served by whoever serves the parent."""
    with changed(lambda: os.chdir("/tmp")) as pid:
        assert context_of(pid) == context_of(os.getpid())


CHANGES = {
    "user": lambda: os.seteuid(1),
    "groups": lambda: os.setgroups([7]),
    "root": lambda: os.chroot("/usr"),
    "mounts": lambda: LIBC.unshare(0x00020000),  # CLONE_NEWNS
    "hosts": lambda: LIBC.unshare(0x04000000),  # CLONE_NEWUTS
    "powers": lambda: replace(Credentials.own(), capabilities=CHOWN).put_on(Credentials.own(), 0),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="changes ids and roots: needs root")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_different_makes_another_context(change):
    """No helper may serve both."""
    with changed(change) as pid:
        assert context_of(pid) != context_of(os.getpid())


def test_access_is_asked_with_the_real_ids():
    """As access(2): a real root has what is permitted to it, a real user nothing."""
    own = context_of(os.getpid())
    root = replace(own, real=(0, 0), permitted=CHOWN)
    lent = replace(root, creds=replace(own.creds, euid=5, fsuid=5, capabilities=0))
    asked = lent.for_access().creds
    assert (asked.fsuid, asked.fsgid, asked.capabilities) == (0, 0, CHOWN)

    set_id = replace(
        own, real=(5, 6), creds=replace(own.creds, euid=0, fsuid=0, capabilities=CHOWN)
    )
    asked = set_id.for_access().creds
    assert (asked.fsuid, asked.fsgid, asked.capabilities) == (5, 6, 0)
