"""What a question binds: two that differ in anything the rule looked at are two."""

import os

import pytest

from notifyd.engine.binding import bound_to
from notifyd.policy.evaluation import Decision
from notifyd.policy.operations import Exec, Open
from notifyd.policy.verdicts import Allow, Ask
from notifyd.testing import make_call


def _about(operation, ask, looks, **fields):
    call = make_call(operation, **fields)
    for name in looks:
        getattr(call, name)
    seen = frozenset(call.seen) - {""}
    return bound_to(Decision(ask, call, True, "a.py:ask", None, seen=seen))


def test_arguments_of_a_program():
    """All arguments count, whether the rule looked at them or not; the environment if it did."""
    ask, base = Ask("run it?"), {"path": "/bin/tool", "argv": (b"tool", b"status")}
    one = _about(Exec, ask, ["path"], **base)
    assert one == _about(Exec, ask, ["path"], **base)
    assert one != _about(Exec, ask, ["path"], **{**base, "argv": (b"tool", b"--delete")})
    assert one != _about(Exec, ask, ["path"], **{**base, "argv": (b"tool status",)})
    assert one != _about(Exec, ask, ["path"], **{**base, "path": "/tmp/tool"})


@pytest.mark.parametrize("key", [None, "key"])
def test_a_key_of_its_own(key):
    """A key stands for the text and for what was looked at, and not for the operation."""
    looks = ["path", "flags"]
    one = _about(Open, Ask("a?", key=key), looks, path="/a", flags=os.O_RDONLY)
    other = _about(Open, Ask("b?", key=key), looks, path="/b", flags=os.O_RDWR)
    assert (one == other) is (key is not None)
    assert one != _about(Exec, Ask("a?", key=key), ["path"], path="/a", argv=(b"a",))


def test_long_keys():
    """What is shown may be cut; what counts is not."""
    one, other = (_about(Open, Ask("?", key="x" * 9000 + end), [], path="/a") for end in "ab")
    assert one != other


def test_what_later_files_make_of_it():
    """Where the call is led to counts, whatever the key."""
    call = make_call(Open, path="/a", flags=os.O_RDONLY)
    ask = Ask("?", key="key")
    led = [
        Decision(
            ask,
            call,
            True,
            "a.py:ask",
            None,
            then=Decision(
                Allow(path=path), make_call(Open, path=path, flags=0), True, "b.py:lead", None
            ),
        )
        for path in ("/b", "/c")
    ]
    assert len({bound_to(one) for one in led}) == 2
