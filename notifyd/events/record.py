"""The record of one answered call, as the engine hands it over. `encode` turns it into text.

A `CallRecord` is for readers; a `Line` is what is written, and is made at once where no one
else looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from notifyd.target.identity import Identity


class CallRecord(msgspec.Struct, frozen=True, gc=False):
    """One call and its answer.

    It is a msgspec struct, unseen by the garbage collector, because one is made for every call and
    nothing else that is frozen is made as fast. It never refers to itself.

    Attributes:
        time_ns: wall clock when the call was received, nanoseconds since 1970, UTC.
        workload: the workload's id.
        identity: who called; None where it could not be read before the target was gone.
        tid: the calling thread, in the supervisor's pid namespace.
        operation: `Open`; `syscall` is `openat` and `arch` is `x86_64`.
        args: the decoded arguments that are known, as `Field.render` gives them.
        verdict: the `kind` of a verdict.
        how: `continued`, `performed`, `verified`, `answered` or `gone`.
        errno: what the target got, positive; 0 for none.
        value: what the call returned, where notifyd knows.
        rule: `file.py:function`; None where no rule had an opinion.
        reason: why, where there is a why.
        racy: the kernel read memory again that a rule had read.
        took_ns: from receiving to answering, without `waited_ns`.
        waited_ns: spent waiting for a person.
        approval: the question that the person was asked; 0 for none.
        cause: why it was refused although no rule wanted so, a word; "" where that was not so.
    """

    time_ns: int
    workload: str
    identity: Identity | None
    tid: int
    operation: str
    syscall: str
    arch: str
    args: Mapping[str, Any] | None
    verdict: str
    how: str
    errno: int
    value: int | None
    rule: str | None
    reason: str | None
    racy: bool
    took_ns: int
    waited_ns: int = 0
    approval: int = 0
    cause: str = ""


class Line(msgspec.Struct, gc=False, omit_defaults=True, tag_field="event", tag="call"):
    """The fields of a `call` event, in the order in which they are written.

    `time` is a number of nanoseconds since 1970, UTC, until it is encoded; `took_us` has one
    decimal. All else is as in `CallRecord` and in the catalogue.
    """

    time: str | int | None = None
    workload: str | None = None
    pid: int | None = None
    tid: int | None = None
    exe: str | None = None
    uid: int | None = None
    process: str | None = None
    operation: str | None = None
    syscall: str | None = None
    arch: str | None = None
    args: dict[str, Any] | None = None
    verdict: str | None = None
    how: str | None = None
    errno: str | None = None
    value: int | None = None
    rule: str | None = None
    reason: str | None = None
    racy: bool = False
    took_us: float | None = None
    waited_s: float | None = None
    approval: int | None = None
    cause: str | None = None
    redacted: list[str] | None = None
