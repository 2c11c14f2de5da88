import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifyd.events.encode import encode_calls, encode_event
from notifyd.events.event import undeclared
from notifyd.target.identity import Identity

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
ONE_EXAMPLE_AFTER_ANOTHER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_line(make_record):
    """A call's line is the one that the documentation shows, byte for byte."""
    assert encode_calls([make_record()]) == (
        b'{"event":"call","time":"2023-11-14T22:13:20.000123Z","workload":"w1","pid":4711,'
        b'"tid":4712,"exe":"/usr/bin/curl","uid":1000,"process":"4711@123456","operation":"Open",'
        b'"syscall":"openat","arch":"x86_64",'
        b'"args":{"path":"/etc/shadow","flags":"O_RDONLY|O_CLOEXEC"},'
        b'"verdict":"deny","how":"answered","errno":"EACCES","rule":"secrets.py:keep",'
        b'"took_us":12.3}\n'
    )


def test_absent_fields_are_left_out(make_record, parse):
    """What a call does not have is not in its line; zero is there."""
    record = make_record(identity=None, args=None, errno=0, rule=None, value=0)
    (line,) = parse(encode_calls([record]))
    missing = {
        "pid",
        "exe",
        "uid",
        "process",
        "args",
        "errno",
        "rule",
        "reason",
        "racy",
        "waited_s",
    }
    assert not missing & line.keys()
    assert (line["value"], line["tid"]) == (0, 4712)


def test_present_fields(make_record, parse):
    """A racy call that waited for a person says both."""
    record = make_record(racy=True, waited_ns=1_500_000_000, reason="because")
    (line,) = parse(encode_calls([record]))
    assert (line["racy"], line["waited_s"], line["reason"]) == (True, 1.5, "because")


def test_catalogue_has_every_field(make_record, parse):
    """Each field of a line is in the catalogue, in the catalogue's order."""
    record = make_record(racy=True, waited_ns=1, reason="because", value=-1)
    (line,) = parse(encode_calls([record]))
    assert undeclared("call", line) == ()


def test_order_and_changing_parts(make_record, parse):
    """Records keep their order; times and identities are those of each record."""
    other = Identity(1, 1, 0, 7, b"/bin/\xff", 0, 0)
    second = 1_700_000_000_000_000_000
    records = [
        make_record(time_ns=second + at * 400_000_000, identity=(None, other)[at % 2], tid=at)
        for at in range(8)
    ]
    lines = parse(encode_calls(records))
    assert [line["tid"] for line in lines] == list(range(8))
    assert [line["time"][17:] for line in lines[:4]] == [
        "20.000000Z", "20.400000Z", "20.800000Z", "21.200000Z",
    ]  # fmt: skip
    assert [line.get("process") for line in lines[:3]] == [None, "1@7", None]
    assert lines[1]["exe"] == "/bin/\\xff"


def test_nothing():
    """No records are no lines."""
    assert encode_calls([]) == b""


@ONE_EXAMPLE_AFTER_ANOTHER
@given(st.lists(st.tuples(st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=4), ANY_TEXT), max_size=5))
def test_hostile_values(make_record, parse, batch):
    """Whatever targets and rules put into calls, each gives one line of printable JSON."""
    records = [make_record(args=args, reason=reason, rule=reason) for args, reason in batch]
    data = encode_calls(records)
    assert [line["tid"] for line in parse(data)] == [4712] * len(records)
    assert all(line.isprintable() for line in data.decode().split("\n"))


@pytest.mark.parametrize(
    "text", ["\x00\x1b[2J\r\n", "\u202egnp\u2066", "\x7f\x85\u2028", "ok ü 漢"]
)
def test_strange_text_keeps_its_meaning(make_record, parse, text):
    """A strange text can be read back as it was, beside ordinary calls in one batch."""
    records = [make_record(), make_record(args={"path": text}), make_record()]
    assert [line["args"]["path"] for line in parse(encode_calls(records))] == [
        "/etc/shadow", text, "/etc/shadow",
    ]  # fmt: skip


def test_lone_surrogates_and_bytes(make_record, parse):
    r"""What is no UTF-8 shows as \xNN, whether it comes as bytes or as smuggled text."""
    records = [make_record(args={"path": "/a\udcfe"}), make_record(args={"path": b"/a\xfe"})]
    assert [line["args"]["path"] for line in parse(encode_calls(records))] == ["/a\\xfe"] * 2


@pytest.mark.parametrize("text", ["x" * (1 << 20), "\x01" * (1 << 20), "é" * (1 << 19)])
def test_a_megabyte(make_record, parse, text):
    """A megabyte is cut to 8 KiB and says so, and its neighbours are whole."""
    records = [make_record(), make_record(args={"path": text, "argv": [text]}, reason=text)]
    first, line = parse(encode_calls(records))
    assert first["args"]["path"] == "/etc/shadow"
    for cut in (line["args"]["path"], line["args"]["argv"][0], line["reason"]):
        assert cut.endswith("… (1040424 more bytes)")


def test_event(parse):
    """Other events have the same shape: event, time, then the fields that are there."""
    data = encode_event("workload.ended", {"status": 1, "signal": None}, 1_700_000_000_000_000_000)
    assert data == (b'{"event":"workload.ended","time":"2023-11-14T22:13:20.000000Z","status":1}\n')


@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=4))
def test_hostile_event(name, fields):
    """An event is one line whatever is in it, and no field can pose as its name or time."""
    data = encode_event(name, {**fields, "event": "forged", "time": "forged"}, 0)
    line = json.loads(data)
    assert data.count(b"\n") == 1
    assert line["event"] != "forged"
    assert line["time"] == "1970-01-01T00:00:00.000000Z"
