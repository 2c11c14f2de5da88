"""Refusals that no rule wanted, and rules that fail: told by fields, not by sentences."""

import errno
import os

import pytest
from recording import record_of

from notifyd import Connect, Open
from notifyd.engine.answer import CAUSES
from notifyd.replay.compare import ReplayStatus
from notifyd.testing import make_call

NO_WRITING = """
@on(Open)
def no_writing(call):
    if call.writes:
        return Deny(errno.EROFS, reason="nothing is written here")
"""


def refused(**fields):
    """A recorded open for writing that was refused."""
    return record_of(make_call(Open, path="/etc/motd", flags=os.O_WRONLY), "deny", **fields)


def test_a_call_that_nobody_decided_is_set_apart(one):
    """Its target was gone, or the supervisor was."""
    gone = refused(how="gone")
    assert one(NO_WRITING, gone) == ("undecided", "nothing", "deny EROFS")
    for cause in sorted(CAUSES.keys() - {"undone"}):
        ended = refused(errno=1, reason=CAUSES[cause], cause=cause)
        assert one(NO_WRITING, ended)[0] == "undecided", cause


def test_reasons_are_for_people(one):
    """A rule may say in its reason what notifyd says: the cause is what counts."""
    for words in (*CAUSES.values(), "not done: no way"):
        said = refused(errno=30, reason=words)
        assert one(NO_WRITING, said)[0] == "same", words
        assert one("@on(Open)\ndef r(call): return Allow()\n", said)[0] == "change", words


@pytest.mark.parametrize(
    ("operation", "look"),
    [
        (Open, "call.pth"),
        (Open, "call.process.exee"),
        (Open, "call.process.exe.nme"),
        (Open, "call.target.procss"),
        (Connect, "call.address.prt"),
        (Connect, "call.address.__wrong__"),
    ],
)
def test_a_misspelt_attribute_is_a_fault_of_the_rule(found, operation, look):
    """As it is in a run; and what is spelt rightly and not on record is none."""
    made = make_call(operation, **({"address": "192.0.2.1:5"} if operation is Connect else {}))
    text = f"@on({operation.__name__})\ndef r(call):\n    {look}\n"
    (finding,) = found(text, record_of(made, "deny", errno=errno.EPERM, how="answered"))
    assert finding.broken
    assert finding.kind is ReplayStatus.SAME
    assert "AttributeError" in finding.reason
    spelt = f"@on({operation.__name__})\ndef r(call):\n    call.process.cwd\n"
    (known,) = found(spelt, record_of(made))
    assert (known.kind, known.broken) == (ReplayStatus.UNTOLD, False)
