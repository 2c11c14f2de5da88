"""JSON about which a runtime in Go, one in C and we could differ: none of it is taken."""

import json

import pytest

from notifyd.bpf.plain_json import decode

GOOD = {
    "ociVersion": "1.0.2",
    "annotations": {"A": "1", "a": "2", "SECCOMP": "x"},
    "process": {"args": ["SECCOMP", "x"], "new": [1.5, 2**64 - 1, None, "\ud800é"]},
    "linux": {"sysctl": {"a.b": "1", "A.b": "2"}, "seccomp": None, "Other": 1},
}

BAD = {
    "twice": '{"linux": {"seccomp": 1, "seccomp": null}}',
    "twice, escaped": r'{"linux": {"seccomp": 1, "\u0073eccomp": null}}',
    "twice, deep in a list": '{"x": [[{"a": 1, "a": 1}]]}',
    "twice in a map": '{"annotations": {"a": "1", "a": "2"}}',
    "in capitals after": '{"linux": {"seccomp": 1, "SECCOMP": null}}',
    "in capitals before": '{"linux": {"SECCOMP": null, "seccomp": 1}}',
    "in capitals alone": '{"linux": {"SECCOMP": null}}',
    "a level above": '{"linux": {}, "LINUX": {}}',
    "another level above": '{"Linux": {}}',
    "a name": '{"seccomp": {"syscalls": [{"Names": ["x"]}]}}',
    "an action": '{"seccomp": {"syscalls": [{"names": [], "Action": "x"}]}}',
    "no new privileges": '{"process": {"noNewPrivileges": true, "nonewprivileges": false}}',
    "annotations": '{"Annotations": {}}',
    "the long s": '{"linux": {"\u017feccomp": null}}',
    "the long s, escaped": r'{"linux": {"\u017feccomp": null}}',
    "the Kelvin sign": '{"mas\u212aedPaths": []}',
    "both of nobody's": '{"x": {"key": 1, "\u212aey": 2}}',
    "a NUL in a key": r'{"linux": {"seccomp\u0000x": null}}',
    "a NUL in a text": r'{"names": ["mknod\u0000x"]}',
    "a NUL in an annotation": r'{"annotations": {"a\u0000b": "x"}}',
    "half a character": r'{"x\ud800": 1, "x\ud801": 2}',
    "no number": '{"a": NaN}',
    "no end": '{"a": -Infinity}',
    "too large": '{"a": 1e999}',
    "too many digits": '{"a": ' + "9" * 5000 + "}",
    "too deep": '{"a": ' + "[" * 100 + "]" * 100 + "}",
    "far too deep": "[" * 200_000,
    "too many keys": json.dumps({f"k{n}": n for n in range(60_000)}),
    "two values": "{} {}",
    "a comment": "{} // x",
    "a trailing comma": '{"a": 1,}',
    "a mark of byte order": "\ufeff{}",
}


def test_what_all_take_for_the_same():
    """Keys of anybody's maps keep their case; names of system calls and unknown keys are texts."""
    assert decode(json.dumps(GOOD).encode()) == GOOD


@pytest.mark.parametrize("what", BAD)
def test_what_they_differ_about(what):
    """An error that can be told to a person in a line."""
    with pytest.raises(ValueError) as error:
        decode(BAD[what].encode("utf-8", "surrogatepass"))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("raw", [b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), b'{"\xc3(": 1}'])
def test_no_utf_8(raw):
    """Other encodings, which Python itself would take."""
    with pytest.raises(ValueError, match="no UTF-8"):
        decode(raw)
