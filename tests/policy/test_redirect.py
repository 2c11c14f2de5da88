"""Leading paths elsewhere: what `Allow(**redirected(...))` is given."""

from __future__ import annotations

import errno
from pathlib import PurePosixPath

import pytest

from notifyd import Chmod, Connect, Open, Rename, Stat, redirected
from notifyd.errors import TargetFault
from notifyd.testing import make_call

P = PurePosixPath
PLACES = {P("/home"): P("/trial"), P("/home/own"): P("/never")}


@pytest.mark.parametrize(
    ("call", "changes"),
    [
        (make_call(Open, path="/home/f"), {"path": P("/trial/f")}),
        (make_call(Open, path="/home"), {"path": P("/trial")}),
        (make_call(Open, path="/homes/f"), {}),
        (make_call(Open, path="/trial/f"), {}),
        (make_call(Open, pathname="../../home/f"), {"path": P("/trial/f")}),
        (make_call(Rename, oldpath="/home/a", newpath="/b"), {"oldpath": P("/trial/a")}),
        (
            make_call(Rename, oldpath="/home/a", newpath="/home/b"),
            {"oldpath": P("/trial/a"), "newpath": P("/trial/b")},
        ),
        (make_call(Connect, path="/home/s"), {"path": P("/trial/s")}),
        (make_call(Connect, address="192.0.2.1:80"), {}),
        (make_call(Chmod, fd=3, syscall="fchmod", directories={3: "/home/f"}), {}),
    ],
    ids=repr,
)
def test_what_lies_below_leads_elsewhere(call, changes):
    """Both paths of two; nothing that only a descriptor names."""
    assert redirected(call, PLACES) == changes


def test_links_there_that_lead_back_lead_there():
    """Each is followed as the program would see it: as far as the call follows."""
    links = {"/trial/link": "/home/f", "/trial/d": "/home/e"}
    assert redirected(make_call(Open, path="/home/link", links=links), PLACES) == {
        "path": P("/trial/f")
    }
    lstat = make_call(Stat, path="/home/link", syscall="lstat", links=links)
    assert redirected(lstat, PLACES) == {"path": P("/trial/link")}
    assert redirected(make_call(Open, path="/home/d/x", links=links), PLACES) == {
        "path": P("/trial/e/x")
    }


def test_links_in_a_circle_are_eloop():
    """As the kernel has it."""
    call = make_call(Open, path="/home/f", links={"/trial/f": "/home/f"})
    with pytest.raises(TargetFault) as caught:
        redirected(call, PLACES)
    assert caught.value.errno == errno.ELOOP


def test_a_replacement_may_lie_below_what_it_replaces():
    """What is below it stays where it is."""
    places = {P("/tmp"): P("/tmp/own")}
    assert redirected(make_call(Open, path="/tmp/f"), places) == {"path": P("/tmp/own/f")}
    assert redirected(make_call(Open, path="/tmp/own/f"), places) == {}
