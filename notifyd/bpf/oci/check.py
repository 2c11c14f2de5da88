"""Whether a merged profile does what it should once a runtime has compiled it.

Owns compiling an OCI profile with libseccomp as runc and crun do, and the comparison: with the
meaning for calls that rules are about, with the base for all others. The runtime may have another
libseccomp than this process; what is not in doubt here may be there, as names of newer calls.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pyseccomp

from notifyd.bpf.oci.meaning import action_of, default_of, refuses, said_of
from notifyd.bpf.oci.merge import Merged, without_others
from notifyd.bpf.oci.profile import Comparison, OciProfile, Op, Syscall
from notifyd.bpf.ordered import order
from notifyd.bpf.profile import Action, Clause, Cube, decide
from notifyd.bpf.program import Program
from notifyd.bpf.simulate import Machine
from notifyd.bpf.verify import ANY, Compiled, points
from notifyd.errors import FilterError, UsageError
from notifyd.kernel.arch import ARCHES, X32_BIT, Arch

__all__ = ["checked", "compile_oci"]

_UNKNOWN = -1  # __NR_SCMP_ERROR: seccomp_syscall_resolve_name(3)
_ALL = 1 << 30  # more cubes than any call has: nothing is widened here

_OPS: Mapping[Op, int] = {
    Op.EQUAL: pyseccomp.EQ,
    Op.GREATER: pyseccomp.GT,
    Op.GREATER_EQUAL: pyseccomp.GE,
    Op.LESS: pyseccomp.LT,
    Op.LESS_EQUAL: pyseccomp.LE,
    Op.MASKED_EQUAL: pyseccomp.MASKED_EQ,
    Op.NOT_EQUAL: pyseccomp.NE,
}


def checked(merged: Merged, base: OciProfile, place: str) -> Merged:
    """The profile, if a runtime gets out of it what it should; else without other architectures.

    libseccomp makes `socketcall` out of i386's `socket` and drops the conditions, for one, so that
    32-bit programs cannot always be had. What holds for the machine's own entry is never given up.

    Raises:
        UsageError: libseccomp does not know a call that rules are about and the base allows.
        FilterError: it makes something else of the profile than what was merged.
    """
    merged = _with_unknown(merged, place)
    try:
        _compare(merged, base, place)
    except FilterError as error:
        if len(merged.meaning.entries) == 1:
            raise
        merged = without_others(merged, f"libseccomp cannot keep it apart ({error})")
        _compare(merged, base, place)
    return merged


def compile_oci(profile: OciProfile) -> Program:
    """The program that runc and crun have libseccomp make of a profile in OCI's dialect.

    Source: `InitSeccomp` in runc, libcontainer/seccomp/seccomp_linux.go; crun, seccomp.c.

    Raises:
        FilterError: libseccomp refuses an entry, and so would the runtime.
    """
    default = default_of(profile)
    made = pyseccomp.SyscallFilter(default.value)
    for name in profile.architectures or ():
        # The native entry is there already: EEXIST.
        with contextlib.suppress(FileExistsError):
            made.add_arch(getattr(pyseccomp.Arch, name.removeprefix("SCMP_ARCH_")))
    for entry in profile.syscalls or ():
        action = action_of(entry.action, entry.errno_ret)
        if action != default:
            _add(made, entry, action)
    with open(os.memfd_create("filter", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
        made.export_bpf(file)
        file.seek(0)
        return Program.from_bytes(file.readall())


def _add(made: pyseccomp.SyscallFilter, entry: Syscall, action: Action) -> None:
    tests = entry.args or ()
    single = len({test.index for test in tests}) < len(tests)
    for name in filter(_known, entry.names):
        for group in ([test] for test in tests) if single else [tests]:
            try:
                made.add_rule(action.value, name, *map(_argument, group))
            except OSError as error:
                raise FilterError(f"libseccomp refuses {name}: {error.strerror}") from error


def _argument(test: Comparison) -> pyseccomp.Arg:
    return pyseccomp.Arg(test.index, _OPS[test.op], test.value, test.value_two)


def _known(name: str) -> bool:
    return bool(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != _UNKNOWN)


def _with_unknown(merged: Merged, place: str) -> Merged:
    unknown = [name for name, call in merged.calls.items() if call.pieces and not _known(name)]
    if not unknown:
        return merged
    listed = ", ".join(unknown)
    if refuses(default_of(merged.seccomp)):
        note = f"libseccomp does not know these, and the base's default refuses them: {listed}"
    elif ruled := [name for name in unknown if name in merged.ruled]:
        raise UsageError(
            f"{place}: allows what it does not name, and libseccomp does not know {ruled[0]}, which"
            " rules are about; use a base that refuses by default, or a newer libseccomp"
        )
    else:
        note = f"libseccomp does not know these, and the supervisor is not told of them: {listed}"
    return Merged(merged.seccomp, merged.meaning, merged.calls, merged.ruled, (*merged.notes, note))


def _compare(merged: Merged, base: OciProfile, place: str) -> None:
    names = merged.seccomp.architectures
    machine = Machine(compile_oci(merged.seccomp))
    before = Machine(compile_oci(msgspec.structs.replace(base, architectures=names)))
    for entry in merged.meaning.entries:
        arch = next(arch for arch in ARCHES.values() if arch.name == entry.arch)
        for nr, args in _touched(merged, arch):
            wanted = decide(merged.meaning, arch.name, nr, args).value
            _agree(machine.run(arch.audit, nr, args), wanted, arch, nr)
        for nr, args in _others(merged, base, arch, place):
            _agree(machine.run(arch.audit, nr, args), before.run(arch.audit, nr, args), arch, nr)


def _agree(got: int, wanted: int, arch: Arch, nr: int) -> None:
    if got != wanted:
        name = arch.name_of(nr) or nr
        raise FilterError(
            f"{name} ({arch.name}) would get {Action(got)!s} instead of {Action(wanted)!s}; "
            "put fewer conditions on this call"
        )


def _touched(merged: Merged, arch: Arch) -> Iterator[tuple[int, Sequence[int]]]:
    default = merged.meaning.default
    known = {
        arch.numbers[name]: call
        for name, call in merged.calls.items()
        if name in arch.numbers and _known(name)
    }
    for clauses in (
        {nr: call.clauses for nr, call in known.items()},
        {nr: _as_clauses(call.pieces) for nr, call in known.items()},
    ):
        calls = {nr: order(found, default, _ALL, may_notify=False) for nr, found in clauses.items()}
        for nr, args in points(Compiled(arch.name, arch.audit, calls)):
            if nr in calls or nr >= X32_BIT:
                yield nr, args


def _as_clauses(pieces: Sequence[tuple[Action, Cube]]) -> tuple[Clause, ...]:
    return tuple(Clause(action, (cube,)) for action, cube in pieces)


def _others(
    merged: Merged, base: OciProfile, arch: Arch, place: str
) -> Iterator[tuple[int, Sequence[int]]]:
    for name, nr in arch.numbers.items():
        if name not in merged.calls:
            yield nr, ANY
            for said in said_of(base, name, place):
                for cube in said.cubes:
                    args = list(ANY)
                    for one in cube:
                        args[one.arg] = args[one.arg] & ~one.mask | one.value
                    yield nr, args
