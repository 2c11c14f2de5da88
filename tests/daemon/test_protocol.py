import contextlib
import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.daemon import control, protocol
from notifyd.daemon.protocol import CONTROL_COMMANDS, parse_reply, parse_request
from notifyd.errors import PeerError, UsageError

PLAIN = {name: {"notifyd": 1, "command": name} for name in CONTROL_COMMANDS}
for _name in ("detach", "kill"):
    PLAIN[_name]["id"] = "web"
for _name in ("approve", "deny", "revoke"):
    PLAIN[_name]["id"] = 1

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("name", CONTROL_COMMANDS)
def test_every_command_is_understood(name):
    """And is written as it is read."""
    request = parse_request(encoded(PLAIN[name]))
    assert type(request) is CONTROL_COMMANDS[name].request
    assert protocol.command_of(request) == name
    assert parse_request(protocol.encode_request(request)) == request
    assert inspect.getdoc(CONTROL_COMMANDS[name].request)


def test_every_command_is_done():
    """All but those that are a conversation of their own have a handler."""
    assert {*control.COMMAND_HANDLERS, "events", "questions"} == set(CONTROL_COMMANDS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "not understood"),
        (b"[]", "not understood"),
        (b"\xff\xfe", "not understood"),
        (b"[" * 60_000, "not understood"),
        (b'{"command":"status"}', "notifyd"),
        (b'{"notifyd":1}', "command"),
        (b'{"notifyd":2,"command":"status"}', "version 2"),
        (b'{"notifyd":1,"command":"aprove"}', "say one of status, workloads"),
        (b'{"notifyd":1,"command":"status","more":1}', "more"),
        (b'{"notifyd":1,"command":"kill"}', "id"),
        (b'{"notifyd":1,"command":"kill","id":""}', "id"),
        (encoded({"notifyd": 1, "command": "kill", "id": "x" * 301}), "id"),
        (encoded({"notifyd": 1, "command": "events", "verdict": "*" * 257}), "verdict"),
        (b'{"notifyd":1,"command":"status"} x', "not understood"),
        (b'{"notifyd":1,"command":"events","verdict":"\\ud800"}', "not understood"),
    ],
)
def test_what_is_no_request(line, said):
    """It is refused, with the place."""
    with pytest.raises(PeerError) as caught:
        parse_request(line)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
def test_any_bytes(line):
    """Whatever comes is a request or the peer's fault."""
    with contextlib.suppress(PeerError):
        assert protocol.command_of(parse_request(line)) in CONTROL_COMMANDS


@given(
    st.sampled_from([*CONTROL_COMMANDS, "aprove"]),
    st.dictionaries(st.sampled_from(["notifyd", "id", "workload", "event", "x"]), JSON),
)
def test_any_fields(name, fields):
    """The same where it looks almost like one."""
    try:
        request = parse_request(encoded({"notifyd": 1, "command": name, **fields}))
    except PeerError:
        return
    assert protocol.command_of(request) == name
    assert "x" not in fields


@given(st.binary(max_size=200), st.sampled_from(list(CONTROL_COMMANDS)))
def test_any_reply(line, name):
    """A client is as careful."""
    with pytest.raises((PeerError, UsageError)):
        parse_reply(line, name)


def test_replies():
    """A result comes back as what it was; an error as what a person can mend."""
    line = protocol.encode_result(protocol.Killed(2))
    assert line == b'{"notifyd":1,"result":{"processes":2}}\n'
    assert parse_reply(line, "kill") == protocol.Killed(2)
    with pytest.raises(UsageError, match="no such thing"):
        parse_reply(protocol.encode_error("no such thing"), "kill")
    with pytest.raises(PeerError, match="version 2"):
        parse_reply(b'{"notifyd":2,"result":{"processes":2}}', "kill")
    assert protocol.encode_error("\u202e\ud800\x1b") == (
        b'{"notifyd":1,"error":"\\u202e\\\\ud800\\u001b"}\n'
    )
