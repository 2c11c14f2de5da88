"""Doing a call for a target: the very values that a rule saw, with no more power than it has."""

from notifyd.perform.execution import Execution
from notifyd.perform.files import Files
from notifyd.perform.network import perform
from notifyd.perform.performed_call import Moved, PerformedCall
from notifyd.perform.performers import FILE_PERFORMERS, ByThread
from notifyd.perform.syscall_result import SyscallResult
from notifyd.perform.tracer import ExecResult, Fate

__all__ = [
    "FILE_PERFORMERS",
    "ByThread",
    "ExecResult",
    "Execution",
    "Fate",
    "Files",
    "Moved",
    "PerformedCall",
    "SyscallResult",
    "perform",
]
