"""Events in words, as `notifyd ctl events` and the journal have them."""

import pytest

from notifyd.events.terminal import main_argument
from notifyd.events.words import event_text

CALL = {"event": "call", "pid": 7, "exe": "/usr/bin/curl", "syscall": "connect"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"verdict": "allow", "how": "continued"}, "allowed connect"),
        (
            {"verdict": "deny", "how": "answered", "errno": "EPERM"},
            "refused connect (EPERM)",
        ),
        ({"verdict": "ask", "how": "continued"}, "allowed connect"),
        (
            {"verdict": "ask", "how": "performed", "errno": "EINPROGRESS"},
            "allowed connect (EINPROGRESS)",
        ),
        (
            {"verdict": "ask", "how": "answered", "errno": "EACCES"},
            "refused connect (EACCES)",
        ),
        ({"verdict": "ask", "how": "gone"}, "asked about connect (gone)"),
        ({"verdict": "\x1b[2J", "how": "?"}, r"\x1b[2J connect"),
    ],
)
def test_calls(fields, text):
    """What a person answered is told by what came of it."""
    assert event_text({**CALL, **fields}) == f"{text}, curl[7]"


def test_messages_without_an_address():
    """What there is none of is not shown."""
    assert main_argument({"fd": 5, "addresses": [None, None]}) == "fd=5"
    assert main_argument({"fd": 5, "addresses": [None, "192.0.2.1:53"]}) == "None 192.0.2.1:53"


def test_whose_it_is():
    """Comes first where it is known, and leaves no gap where it is not."""
    event = {"event": "rules.loaded", "rules": ["a.py", "b.py"]}
    assert event_text(event) == "loaded a.py b.py"
    assert event_text({**event, "section": "web"}) == "web: loaded a.py b.py"
    assert event_text({"event": "rules.loaded"}) == "loaded ?"
    refused = {"event": "control.refused", "peer": "curl", "reason": "no"}
    assert event_text(refused) == "control: no ? for curl: no"
