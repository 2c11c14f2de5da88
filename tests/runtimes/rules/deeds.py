"""What `performer.py` leaves out: programs and schedulers that are looked at."""

from notifyd import Allow, Exec, SchedSetScheduler, on


@on(Exec)
def looked_at(call: Exec) -> Allow:
    """Compared again before the first instruction."""
    assert call.path
    return Allow()


@on(SchedSetScheduler)
def scheduler(call: SchedSetScheduler) -> Allow:
    """Read and done by the supervisor."""
    assert call.priority is not None
    return Allow()
