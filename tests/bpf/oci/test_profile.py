"""Reading, resolving and writing seccomp profiles of container runtimes."""

import json

import pytest

from notifyd.bpf.oci import profile as oci
from notifyd.bpf.oci.profile import Act, Comparison, OciProfile, Op, Syscall
from notifyd.container.base import DEFAULTS
from notifyd.errors import UsageError

OCI = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "listenerPath": "/run/a.sock",
    "listenerMetadata": "text",
    "syscalls": [
        {
            "names": ["clone", "unshare"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
            "args": [{"index": 0, "value": 1 << 63, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ],
}


def read(**changes):
    return oci.read(json.dumps(OCI | changes).encode(), "file.json")


def test_what_is_read_is_written():
    """Every field of the specification survives, and registers have all of their 64 bits."""
    found = read()
    assert found.syscalls == (
        Syscall(
            names=("clone", "unshare"),
            action=Act.ERRNO,
            errno_ret=1,
            args=(Comparison(0, 1 << 63, Op.MASKED_EQUAL, 7),),
        ),
    )
    assert json.loads(oci.write(found)) == OCI


def test_a_bundle_has_a_profile_inside():
    """The config.json of a container is taken as well; one without a profile is refused."""
    config = {"ociVersion": "1.0.2", "linux": {"seccomp": OCI}}
    assert oci.read(json.dumps(config).encode(), "config.json") == read()
    with pytest.raises(UsageError, match=r"^p: no seccomp profile"):
        oci.read(b'{"defaultAction":"\xff"}', "p")
    with pytest.raises(UsageError, match=r"config\.json \(linux\.seccomp\): no seccomp profile"):
        oci.read(b'{"ociVersion": "1.0.2", "linux": {}}', "config.json")


ENTRY = {"names": ["open"], "action": "SCMP_ACT_ALLOW"}
ARG = {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}
WRONG = {
    "an action": ({"defaultAction": "ALLOW"}, "defaultAction"),
    "a key": ({"syscall": []}, "syscall"),
    "an entry's key": ({"syscalls": [ENTRY | {"arg": []}]}, "syscalls[0]"),
    "no action": ({"syscalls": [{"names": ["open"]}]}, "syscalls[0]"),
    "no name": ({"syscalls": [ENTRY, ENTRY | {"names": []}]}, "syscalls[1]"),
    "two names": ({"syscalls": [ENTRY | {"name": "read"}]}, "syscalls[0]"),
    "an errno": ({"syscalls": [ENTRY | {"errnoRet": 4096}]}, "syscalls[0].errnoRet"),
    "an errno's name": ({"syscalls": [ENTRY | {"errno": "EWHAT"}]}, "'EWHAT'"),
    "the default's errno": ({"defaultErrno": "4096"}, "'4096'"),
    "an index": ({"syscalls": [ENTRY | {"args": [ARG | {"index": 6}]}]}, "args[0].index"),
    "a comparison": ({"syscalls": [ENTRY | {"args": [ARG | {"op": "EQ"}]}]}, "args[0].op"),
    "a value": ({"syscalls": [ENTRY | {"args": [ARG | {"value": 1 << 64}]}]}, "syscalls[0]"),
    "a negative value": ({"syscalls": [ENTRY | {"args": [ARG | {"value": -1}]}]}, "args[0].value"),
    "both dialects": ({"archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}, "archMap"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told_with_its_place(what):
    """The file, and where in it."""
    changes, place = WRONG[what]
    with pytest.raises(UsageError) as told:
        read(**changes)
    assert str(told.value).startswith("file.json: ")
    assert place in str(told.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"7", b"\xff", b'{"ociVersion":1,"linux":7}', b"[" * 100_000],
    ids=len,
)
def test_what_is_no_profile(raw):
    """One line with the file's name."""
    with pytest.raises(UsageError, match=r"^file\.json.*profile"):
        oci.read(raw, "file.json")


def resolve(*entries, caps=(), kernel="6.1.0", **others):
    profile = oci.as_profile(
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(entries), **others}, "file.json"
    )
    return oci.resolve(profile, caps=caps, arch="x86_64", kernel=kernel)


@pytest.mark.parametrize(
    ("condition", "caps", "kernel", "applies"),
    [
        ({"includes": {"caps": ["CAP_BPF"]}}, (), "6.1", False),
        ({"includes": {"caps": ["CAP_BPF"]}}, ("CAP_BPF",), "6.1", True),
        ({"includes": {"caps": ["CAP_BPF", "CAP_KILL"]}}, ("CAP_BPF",), "6.1", False),
        ({"excludes": {"caps": ["CAP_BPF", "CAP_KILL"]}}, ("CAP_BPF",), "6.1", False),
        ({"excludes": {"caps": ["CAP_BPF"]}}, (), "6.1", True),
        ({"includes": {"arches": ["arm64", "amd64"]}}, (), "6.1", True),
        ({"includes": {"arches": ["arm64"]}}, (), "6.1", False),
        ({"excludes": {"arches": ["amd64"]}}, (), "6.1", False),
        ({"includes": {"minKernel": "4.8"}}, (), "4.7.9", False),
        ({"includes": {"minKernel": "4.8"}}, (), "4.10.0-1-amd64", True),
        ({"excludes": {"minKernel": "4.8"}}, (), "4.8", False),
    ],
)
def test_docker_s_conditions_on_the_container(condition, caps, kernel, applies):
    """An entry stays only where Docker would keep it, and its condition never does."""
    found = resolve(ENTRY | condition, caps=caps, kernel=kernel)
    assert found.syscalls == ((Syscall(names=("open",), action=Act.ALLOW),) if applies else ())


def test_docker_s_other_words():
    """One name instead of several, and architectures by machine."""
    arches = [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
    ]
    found = resolve({"name": "open", "action": "SCMP_ACT_LOG", "comment": "why"}, archMap=arches)
    assert found == OciProfile(
        Act.ERRNO,
        architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
        syscalls=(Syscall(names=("open",), action=Act.LOG),),
    )


def test_podman_s_errnos():
    """By name or number, which outranks errnoRet (4.3, measured)."""
    refused = {"names": ["open"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2}
    found = resolve(refused | {"errno": "EIO"}, refused | {"errno": "11"}, defaultErrno="ENOSYS")
    assert [one.errno_ret for one in found.syscalls] == [5, 11]
    assert (found.default_errno, found.default_errno_ret) == (None, 38)


def test_what_the_engines_ship_can_be_read():
    """The real file, of which nothing of Docker's dialect is left."""
    raw = DEFAULTS[1].read_bytes()
    found = oci.resolve(
        oci.read(raw, "seccomp.json"), caps=oci.CAPABILITIES, arch="x86_64", kernel="6.1"
    )
    assert found.architectures[0] == "SCMP_ARCH_X86_64"
    assert len(found.syscalls) > 10
    assert not {"archMap", "defaultErrno"} & json.loads(oci.write(found)).keys()
    assert oci.read(oci.write(found), "again") == found
