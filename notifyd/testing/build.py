"""Making calls: from the values of an operation's fields, or from six registers.

Values are laid out as the kernel would get them (`layout`), so that the call reads them back by
the very code that reads a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from notifyd.kernel.arch import ARCHES, Arch, native
from notifyd.policy.bound import BoundCall, Variant
from notifyd.policy.call import ARG0, Call, Note, Raw, RawCall
from notifyd.policy.fields import Path, Pathname
from notifyd.policy.operations.executing import Digest
from notifyd.policy.operations.layouts import SocketPath
from notifyd.policy.operations.sending import Destinations
from notifyd.testing.addresses import as_bytes, unix_sockaddr
from notifyd.testing.layout import Layout, has_place
from notifyd.testing.target import FakeProcess, FakeTarget

__all__ = ["call_from_registers", "make_call"]

C = TypeVar("C", bound=Call)


class FakeWorkload:
    """Where a made call comes from."""

    def __init__(self, name: str, target: FakeTarget) -> None:
        self.name = name
        self._target = target

    def target(self, note: Note) -> FakeTarget:  # noqa: ARG002
        """The one target that there is."""
        return self._target

    def read_string(self, call: BoundCall, address: int, limit: int) -> bytes:
        """A string of the call's target."""
        return call.target.read_string(address, limit)


def make_call(
    operation: type[C],
    /,
    *,
    syscall: str | None = None,
    arch: str | None = None,
    process: FakeProcess | None = None,
    workload: str = "test",
    links: Mapping[str, str] | None = None,
    directories: Mapping[int, str] | None = None,
    **fields: Any,
) -> C:
    """A call of `operation` with the field values given.

    Args:
        operation: `Open`, `Connect`, ...; see `notifyd rules --operations`.
        syscall: which of its system calls; default: the first that has every field given.
        arch: `x86_64`, `i386` or `aarch64`; default: this machine's.
        process: who calls.
        workload: the workload's id.
        links: what symbolic links say, by their absolute paths: see `FakeTarget`.
        directories: paths of the target's open descriptors.
        fields: by name. Numbers are numbers; a device is (major, minor); paths and other texts are
            str, bytes or a path; argv is a sequence of them; a socket address is
            `"192.0.2.1:80"`, `"[2001:db8::1]:80"`, `"unix:/run/x"`, `"unix:@abstract"`, its bytes
            or a `SockAddr`. A resolved path (`path=`) is laid down as the text or the AF_UNIX
            address, unless that (`pathname=`, `address=`) is given too, and then that decides. What
            is left out has its default; a pointer that is left out is null. A digest (`sha256=`) is
            what the rule sees; no file is read.

    Raises:
        TypeError: no such field, a value that cannot be laid out, or no system call that has all
            these fields.
    """
    entry = _entry(arch)
    given = {name: fields.pop(name) for name in list(fields) if _is_digest(operation, name)}
    values = _texts(operation, fields)
    variant = _variant(operation, entry, syscall, values)
    layout = Layout(operation, variant, entry)
    layout.put(values)
    target = FakeTarget(layout.memory(), process, directories, links)
    note = (1, target.process.tid, 0, entry.numbers[variant.syscall], entry.audit, 0)
    call = operation((*note, *layout.registers), variant, FakeWorkload(workload, target))
    call.seen.update(given)
    return call


def _is_digest(operation: type[Call], name: str) -> bool:
    return isinstance(operation.fields.get(name), Digest)


def call_from_registers(
    operation: type[C] | Raw,
    syscall: str,
    /,
    *registers: int,
    arch: str | None = None,
    target: FakeTarget | None = None,
    workload: str = "test",
) -> C | RawCall:
    """A call of `operation` with these argument registers; those left out are 0.

    Args:
        operation: an operation, or `Raw("sysinfo")`.
        syscall: the system call's name; it must be one of the operation's.
        registers: up to six numbers; negative ones as the architecture's registers hold them.
        arch: as for `make_call`.
        target: whose memory the registers point into.
        workload: the workload's id.

    Raises:
        LookupError: the operation has no such system call there.
    """
    entry = _entry(arch)
    target = FakeTarget() if target is None else target
    six = tuple(one & (1 << entry.bits) - 1 for one in (*registers, 0, 0, 0, 0, 0, 0)[:6])
    number = entry.numbers.get(syscall, -1)
    note = (1, target.process.tid, 0, number, entry.audit, 0, *six)
    cls = RawCall if isinstance(operation, Raw) else operation
    for variant in operation.variants:
        fits = variant.syscall == syscall and variant.arch in (None, entry.name)
        if fits and all(note[ARG0 + at] & 0xFFFFFFFF == value for at, value in variant.when):
            return cls(note, variant, FakeWorkload(workload, target))
    raise LookupError(f"{operation!r} has no {syscall} with these registers on {entry.name}")


def _entry(name: str | None) -> Arch:
    if name is None:
        return native()
    for arch in ARCHES.values():
        if arch.name == name:
            return arch
    known = ", ".join(arch.name for arch in ARCHES.values())
    raise TypeError(f"no architecture {name!r}; there is {known}")


def _texts(operation: type[Call], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are laid out: a resolved path becomes the text that leads to it."""
    values = dict(fields)
    for name, value in fields.items():
        if name == "address" and isinstance(operation.fields.get("addresses"), Destinations):
            values["addresses"] = (values.pop("address"),)
            continue
        field = operation.fields.get(name)
        if field is None:
            known = ", ".join(sorted(operation.fields))
            raise TypeError(f"{operation.__name__} has no field {name!r}; it has {known}")
        if isinstance(field, SocketPath):
            values.setdefault(field.pathname, unix_sockaddr(as_bytes(value)))
            del values[name]
        elif isinstance(field, Path):
            values.setdefault(field.pathname, as_bytes(value))
            del values[name]
        elif isinstance(field, Pathname):
            values[name] = as_bytes(value)
    return values


def _variant(
    operation: type[Call], entry: Arch, syscall: str | None, values: Mapping[str, Any]
) -> Variant:
    """The first line of the operation's table that has a place for every value."""
    here = [
        variant
        for variant in operation.variants
        if variant.syscall in entry.numbers
        and variant.arch in (None, entry.name)
        and syscall in (None, variant.syscall)
    ]
    for variant in here:
        if has_place(variant, values):
            return variant
    of = f"{operation.__name__} on {entry.name}"
    if not here:
        raise TypeError(f"{of} has no system call {syscall or ''}")
    raise TypeError(f"no system call of {of} has {', '.join(sorted(values))} with these values")
