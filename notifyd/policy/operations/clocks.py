"""What time it is: `SetTime` and `GetTime`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import Address, Enum
from notifyd.policy.names.time import CLOCKS
from notifyd.policy.sources import Const, call

__all__ = ["GetTime", "SetTime"]

CLOCK_REALTIME = CLOCKS["CLOCK_REALTIME"]


class SetTime(Call):
    """Set or steer a clock: clock_settime(2), settimeofday(2), adjtimex(2), stime(2).

    adjtimex with no mode set only asks, and that lies in memory behind `value`. The clock is the
    machine's; time namespaces shift the monotonic clocks only.
    """

    __slots__ = ()
    theme = "system"

    clock = Enum(CLOCKS, "`CLOCK_*`; `CLOCK_REALTIME` for calls that know no other")
    value = Address("the new time, or how to steer; its layout is the call's own")
    zone = Address("settimeofday: the time zone, or null")

    variants = (
        call("clock_settime", clock=0, value=1),
        call("clock_settime64", clock=0, value=1),
        call("clock_adjtime", clock=0, value=1),
        call("clock_adjtime64", clock=0, value=1),
        call("settimeofday", clock=Const(CLOCK_REALTIME), value=0, zone=1),
        call("adjtimex", clock=Const(CLOCK_REALTIME), value=0),
        call("stime", clock=Const(CLOCK_REALTIME), value=0),
    )

    @property
    def adjusts(self) -> bool:
        """Whether the clock is steered, or asked how it is, instead of set."""
        return self.syscall in ("adjtimex", "clock_adjtime", "clock_adjtime64")


class GetTime(Call):
    """Ask for the time: clock_gettime(2), gettimeofday(2), time(2).

    Most of these never get here: the vDSO answers them without a system call, vdso(7), and no
    filter sees it. What does get here is a clock that the vDSO does not know, a machine whose clock
    source is slow, or a program that makes the system call itself.
    """

    __slots__ = ()
    theme = "system"

    clock = Enum(CLOCKS, "`CLOCK_*`; `CLOCK_REALTIME` for calls that know no other")
    buffer = Address("where the time goes; time(2) takes null")
    zone = Address("gettimeofday: where the time zone goes, or null")

    variants = (
        call("clock_gettime", clock=0, buffer=1),
        call("clock_gettime64", clock=0, buffer=1),
        call("gettimeofday", clock=Const(CLOCK_REALTIME), buffer=0, zone=1),
        call("time", clock=Const(CLOCK_REALTIME), buffer=0),
    )
