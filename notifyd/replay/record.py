"""A recorded call: what of an event is certain, and the calls that rules are shown of it.

A rule gets a call of the very class that it declares, whose values come from the record. All other
ways into the target end in `Missing`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import PurePosixPath
from typing import Any, NoReturn

from notifyd.kernel.arch import Arch
from notifyd.policy.bound import BoundCall, Source, Variant
from notifyd.policy.call import Call, Note, RawCall
from notifyd.policy.fields import Device, Field, Int
from notifyd.policy.operations import OPERATIONS
from notifyd.policy.sources import Const, Pair, Reg, Reg16
from notifyd.policy.wording import parts_of
from notifyd.replay.event import Event
from notifyd.replay.missing import Missing
from notifyd.replay.parse import number_of, value_of
from notifyd.replay.register import Registers
from notifyd.replay.texts import Inexact, bytes_of
from notifyd.replay.thread import RecordedTarget, Replayed, Seen

__all__ = ["RecordedCall"]

_PROCESS = re.compile(r"([0-9]{1,10})@([0-9]{1,20})")
_REGISTERS = re.compile(r"(?:[0-9a-f]{16} ){5}[0-9a-f]{16}")


class RecordedCall:
    """One recorded call, ready to be shown to rules. It is also where those calls come from.

    Args:
        event: a call of `arch` whose system call has the number `number`.

    Attributes:
        note: the kernel's record, as far as it is known; see `Register`.
        missing: what rules look for in vain.
    """

    def __init__(self, event: Event, arch: Arch, number: int) -> None:
        self.event = event
        self.missing = Missing()
        self._values: dict[str, Any] = {}
        self._operation, self._variant = _declared(event, arch)
        registers = Registers(arch.bits, self.missing)
        self._target = RecordedTarget(_known_of(event), self.missing)
        head = (1, event.tid or 0, 0, number, arch.audit, 0)
        if self._operation is RawCall:
            _read_registers(registers, event.args or {})
        elif self._operation is not None:
            self._read((*head, 0, 0, 0, 0, 0, 0), registers, event.args or {})
        self.note: Note = (*head, *registers)

    @property
    def name(self) -> str:
        """The workload's id."""
        return self.event.workload or self.missing("workload")

    def target(self, note: Note) -> RecordedTarget:  # noqa: ARG002
        """What the record knows of the thread."""
        return self._target

    def read_string(self, call: BoundCall, address: int, limit: int) -> NoReturn:
        """Only fields of the memory are recorded."""
        call.read_string(address, limit)
        raise AssertionError("a replayed call has no memory")

    def call(self, operation: Any, variant: Variant) -> Call:
        """The call as a rule about `operation` sees it."""
        call = replayed(operation)(self.note, variant, self)
        same = operation is self._operation and variant is self._variant
        call.seen = Seen(call, self._values if same else {})
        return call

    def _read(self, note: Note, registers: Registers, args: dict[str, Any]) -> None:
        variant = self._variant
        assert self._operation is not None
        assert variant is not None
        call = self._operation(note, variant, None)
        for at, number in variant.when:
            registers.set(at, number, 0xFFFFFFFF)
        for name, field in self._operation.fields.items():
            source = variant.sources.get(name)
            if isinstance(source, Reg):
                registers.call(source.index, f"the address of {name}" if field.memory else name)
            if name not in args:
                continue
            try:
                value = value_of(field, args[name], call, self.missing)
            except Inexact:
                continue
            call.seen[name] = value
            if isinstance(field, (Int, Device)) and source is not None:
                _store(registers, source, field, number_of(field, value, call))
        self._values = {name: value for name, value in call.seen.items() if not _plain(call, name)}


def _plain(call: Call, name: str) -> bool:
    """Whether a value is decoded from a register, as in a real call, and needs no copy."""
    held = isinstance(call.variant.sources.get(name), (Reg, Reg16, Const))
    return held and isinstance(call.fields[name], Int)


def _store(registers: Registers, source: Source, field: Field[Any], raw: int) -> None:
    """Put a raw argument back to where it lay."""
    mask = (1 << field.shown_width) - 1
    if isinstance(source, Reg):
        registers.set(source.index, raw, mask)
    elif isinstance(source, Reg16):
        registers.set(source.index, raw, 0xFFFF)
    elif isinstance(source, Pair):
        registers.set(source.low, raw & 0xFFFFFFFF, 0xFFFFFFFF)
        registers.set(source.high, raw >> 32 & 0xFFFFFFFF, 0xFFFFFFFF)


def _read_registers(registers: Registers, args: dict[str, Any]) -> None:
    text = args.get("registers")
    if isinstance(text, str) and _REGISTERS.fullmatch(text):
        for at, word in enumerate(text.split()):
            registers.set(at, int(word, 16), (1 << 64) - 1)


@cache  # one for each operation
def replayed(operation: Any) -> type[Call]:
    """`operation` with every way into the target closed."""
    return type(operation.__name__, (Replayed, operation), {"__slots__": ()})


def _declared(event: Event, arch: Arch) -> tuple[Any, Variant | None]:
    """The operation and the line of its table that the event was decoded with."""
    if event.operation == "Raw":
        return RawCall, None
    operation = OPERATIONS.get(event.operation or "")
    if operation is None:
        return None, None
    names = set(event.args or {})
    fitting = [
        variant
        for variant in operation.variants
        if variant.syscall == event.syscall and variant.arch in (None, arch.name)
    ]
    if len(fitting) > 1:  # as socketcall's: distinguished by what they have
        fitting = [one for one in fitting if _fits(operation, one, arch, names)]
    return (operation, fitting[0]) if len(fitting) == 1 else (None, None)


def _fits(operation: Any, variant: Variant, arch: Arch, names: set[str]) -> bool:
    possible, needed = set(), set()
    for name, field, _, _, gate, _, _, unsourced in parts_of(operation, variant, arch.audit):
        possible.add(name)
        if not (gate or field.memory or unsourced):
            needed.add(name)
    return needed <= names <= possible


def _known_of(event: Event) -> dict[str, Any]:
    """What an event tells of the process."""
    known: dict[str, Any] = {"pid": event.pid, "tid": event.tid, "uid": event.uid}
    with suppress(Inexact):
        known["exe"] = PurePosixPath(os.fsdecode(bytes_of(event.exe)))
    process = _PROCESS.fullmatch(event.process or "")
    known["start"] = int(process[2]) if process else None
    return {name: value for name, value in known.items() if value is not None}
