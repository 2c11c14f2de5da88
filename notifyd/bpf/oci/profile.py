"""A seccomp profile as container runtimes read it: a value, from bytes and to bytes.

Owns two dialects: that of the OCI (runtime-spec, config-linux.md, "Seccomp"), and that of the file
which Docker, Podman and CRI-O take, which has an `archMap`, and entries that only apply to
containers with some power. `resolve` makes the first of the second. Knows nothing of what a profile
means: that is `oci_meaning`.
"""

from __future__ import annotations

import enum
import errno
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec

from notifyd.bpf import plain_json
from notifyd.errors import UsageError
from notifyd.kernel.limits import MAX_ERRNO

__all__ = [
    "ARCH_NAMES",
    "CAPABILITIES",
    "FLAGS",
    "KILLABLE",
    "Act",
    "ArchMap",
    "Comparison",
    "OciProfile",
    "Op",
    "Syscall",
    "When",
    "read",
    "resolve",
    "write",
]

ARCH_NAMES: Mapping[str, str] = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "aarch64": "SCMP_ARCH_AARCH64",
}
_GO_NAMES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}

FLAGS = tuple(
    f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV")
)
KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
"""Nothing but what kills disturbs a call that the supervisor has received. Since Linux 5.19."""

CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
)
"""What a container of Docker has unless something else was asked for: moby, oci/caps/defaults.go.

Podman's containers have fewer.
"""


class Act(enum.Enum):
    """The actions that a profile can name."""

    ALLOW = "SCMP_ACT_ALLOW"
    ERRNO = "SCMP_ACT_ERRNO"
    KILL = "SCMP_ACT_KILL"
    KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"
    KILL_THREAD = "SCMP_ACT_KILL_THREAD"
    LOG = "SCMP_ACT_LOG"
    NOTIFY = "SCMP_ACT_NOTIFY"
    TRACE = "SCMP_ACT_TRACE"
    TRAP = "SCMP_ACT_TRAP"


class Op(enum.Enum):
    """How an argument is compared: unsigned, with all the bits that a register has."""

    EQUAL = "SCMP_CMP_EQ"
    GREATER = "SCMP_CMP_GT"
    GREATER_EQUAL = "SCMP_CMP_GE"
    LESS = "SCMP_CMP_LT"
    LESS_EQUAL = "SCMP_CMP_LE"
    MASKED_EQUAL = "SCMP_CMP_MASKED_EQ"
    NOT_EQUAL = "SCMP_CMP_NE"


_Errno = Annotated[int, msgspec.Meta(ge=0, le=MAX_ERRNO)]
_Register = Annotated[int, msgspec.Meta(ge=0)]  # and 64 bits, which msgspec cannot say


class _Value(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """Fields are called as the specification calls them, and one that it has not is a mistake."""


class Comparison(_Value, frozen=True):
    """One condition on one argument; with MASKED_EQUAL `value` is the mask."""

    index: Annotated[int, msgspec.Meta(ge=0, le=5)]
    value: _Register
    op: Op
    value_two: _Register = 0


class When(_Value, frozen=True):
    """Docker's condition on the container, not on the call."""

    caps: tuple[str, ...] | None = None
    arches: tuple[str, ...] | None = None
    min_kernel: str | None = None


class Syscall(_Value, frozen=True, kw_only=True):
    """One answer for some calls. Remarks are read, and never written.

    `errno` is Podman's name or number for `errno_ret`, and outranks it, as does `default_errno`.
    """

    names: tuple[str, ...] = ()
    action: Act
    errno_ret: _Errno | None = None
    args: tuple[Comparison, ...] | None = None
    includes: When | None = None
    excludes: When | None = None
    name: str | None = None
    comment: str | None = None
    errno: str | None = None


class ArchMap(_Value, frozen=True):
    """Docker's: what else to filter on a machine of one kind."""

    architecture: str
    sub_architectures: tuple[str, ...] | None = None


class OciProfile(_Value, frozen=True):
    """A whole profile, which is also `linux.seccomp` in the `config.json` of a bundle."""

    default_action: Act
    default_errno_ret: _Errno | None = None
    default_errno: str | None = None
    architectures: tuple[str, ...] | None = None
    arch_map: tuple[ArchMap, ...] | None = None
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[Syscall, ...] | None = None


def read(raw: bytes, place: str) -> OciProfile:
    """A profile from JSON: a profile file, or the `config.json` of a bundle, which has one inside.

    Args:
        raw: the file.
        place: what the person calls it.

    Raises:
        UsageError: it is not such JSON; the text says where.
    """
    try:
        whole = plain_json.decode(raw)
        if isinstance(whole, dict) and "ociVersion" in whole:
            whole = (whole.get("linux") or {}).get("seccomp")
            place = f"{place} (linux.seccomp)"
        if not isinstance(whole, dict):
            raise UsageError(f"{place}: no seccomp profile in it; give a file that has one")
        return as_profile(whole, place)
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{place}: no seccomp profile: {error}") from error


def as_profile(data: Mapping[str, Any], place: str) -> OciProfile:
    """A profile from what JSON was decoded to.

    Raises:
        UsageError: it is not a profile; the text says where and what is wrong.
    """
    try:
        found = msgspec.convert(data, OciProfile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{place}: no seccomp profile: {error}") from error
    for at, entry in enumerate(found.syscalls or ()):
        if bool(entry.names) == bool(entry.name):
            raise UsageError(f"{place}: syscalls[{at}] needs names, or a name")
        if any(max(test.value, test.value_two) >> 64 for test in entry.args or ()):
            raise UsageError(f"{place}: syscalls[{at}] compares with more than 64 bits")
    for text in (found.default_errno, *(entry.errno for entry in found.syscalls or ())):
        if text and _errno(text, None) is None:
            raise UsageError(f"{place}: no errno is called {text!r}; give its name or number")
    if found.architectures and found.arch_map:
        raise UsageError(f"{place}: has architectures and archMap; leave one out")
    return found


def _errno(text: str | None, number: int | None) -> int | None:
    """Podman's way to give an errno, by name or number (4.3, measured). None: unknown."""
    if not text:
        return number
    if text.isdecimal() and text.isascii():
        return int(text) if len(text) < 5 and int(text) <= MAX_ERRNO else None
    found = getattr(errno, text, None) if text.startswith("E") else None
    return found if isinstance(found, int) else None


def write(profile: OciProfile) -> bytes:
    """The JSON of a profile, indented, for people to read and for runtimes."""
    return msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n"


def resolve(profile: OciProfile, *, caps: Collection[str], arch: str, kernel: str) -> OciProfile:
    """The profile of the OCI that an engine makes of a file in Docker's dialect.

    Source: `setupSeccomp` in moby, profiles/seccomp/seccomp_linux.go.

    Args:
        profile: in either dialect.
        caps: the powers of the containers that it is for, as `CAP_*`.
        arch: `Arch.name` of the machine.
        kernel: its release, such as `6.1.0-31-amd64`.
    """
    arches = profile.architectures
    for one in profile.arch_map or ():
        if one.architecture == ARCH_NAMES[arch]:
            arches = (one.architecture, *(one.sub_architectures or ()))
    entries = tuple(
        Syscall(
            names=entry.names or (entry.name or "",),
            action=entry.action,
            errno_ret=_errno(entry.errno, entry.errno_ret),
            args=entry.args or None,
        )
        for entry in profile.syscalls or ()
        if _applies(entry, caps, _GO_NAMES[arch], kernel)
    )
    return msgspec.structs.replace(
        profile,
        architectures=arches,
        arch_map=None,
        default_errno_ret=_errno(profile.default_errno, profile.default_errno_ret),
        default_errno=None,
        syscalls=entries,
    )


def _applies(entry: Syscall, caps: Collection[str], arch: str, kernel: str) -> bool:
    without, needs = entry.excludes or When(), entry.includes or When()
    if arch in (without.arches or ()) or any(cap in caps for cap in without.caps or ()):
        return False
    if without.min_kernel and _version(kernel) >= _version(without.min_kernel):
        return False
    if needs.arches and arch not in needs.arches:
        return False
    if needs.min_kernel and _version(kernel) < _version(needs.min_kernel):
        return False
    return all(cap in caps for cap in needs.caps or ())


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a kernel release, which is all that Docker compares."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
