"""Helpers for people who test their rules: no root, no kernel, no target.

    from notifyd import Deny, Mknod
    from notifyd.testing import load_rules, make_call, verdict_of

    def test_disks_are_refused():
        call = make_call(Mknod, mode=S_IFBLK | 0o600, device=(8, 0))
        assert verdict_of(harmless_devices, call) == Deny(EPERM)

A call that `make_call` made decodes its arguments from registers and from memory as a real one
does, so it also knows whether a rule looked at memory. What is in the memory is a `FakeTarget`.
"""

from notifyd.testing.build import call_from_registers, make_call
from notifyd.testing.target import FakeProcess, FakeTarget
from notifyd.testing.verdict import load_rules, verdict_of, wait_verdict

__all__ = [
    "FakeProcess",
    "FakeTarget",
    "call_from_registers",
    "load_rules",
    "make_call",
    "verdict_of",
    "wait_verdict",
]
