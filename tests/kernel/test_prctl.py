"""What a process sets about itself, tried in children."""

import os
import signal

import pytest

from notifyd.kernel import prctl


def test_no_new_privs(in_child):
    """no_new_privs is off, then on."""

    def work():
        before = prctl.get_no_new_privs()
        prctl.set_no_new_privs()
        return before * 10 + prctl.get_no_new_privs()

    assert in_child(work) == 1


def test_dumpable(in_child):
    """A process can hide itself and show itself again."""

    def work():
        prctl.set_dumpable(False)
        hidden = prctl.get_dumpable()
        prctl.set_dumpable(True)
        return hidden * 10 + prctl.get_dumpable()

    assert in_child(work) == 1


def test_subreaper(in_child):
    """A subreaper becomes the parent of a grandchild whose parent ended."""

    def work():
        prctl.set_child_subreaper()
        if not os.fork():
            if not os.fork():
                os._exit(7)
            os._exit(5)
        statuses = {os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)}
        prctl.set_child_subreaper(False)
        return int(statuses == {5, 7})

    assert in_child(work) == 1


def test_death_signal(in_child):
    """A child that asked for it dies with its parent."""
    ours, theirs = os.pipe()

    def work():
        come, go = os.pipe()
        if not os.fork():
            prctl.set_pdeathsig(signal.SIGKILL)
            os.write(go, b"!")
            signal.pause()
        os.read(come, 1)
        return 0

    assert in_child(work) == 0
    os.close(theirs)
    assert os.read(ours, 1) == b""  # the last holder of the other end is dead
    os.close(ours)


def test_bad_value():
    """A refused option is an OSError."""
    with pytest.raises(OSError):
        prctl.set_pdeathsig(1000)
