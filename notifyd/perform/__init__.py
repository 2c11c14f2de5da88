"""Doing a call for a target: the very values that a rule saw, with no more power than it has."""

from notifyd.perform.deed import FileDeed, Moved
from notifyd.perform.done import Done
from notifyd.perform.execution import Execution
from notifyd.perform.files import Files
from notifyd.perform.network import PERFORMERS, perform
from notifyd.perform.recipes import RECIPES
from notifyd.perform.tracer import Came, Fate

__all__ = [
    "PERFORMERS",
    "RECIPES",
    "Came",
    "Done",
    "Execution",
    "Fate",
    "FileDeed",
    "Files",
    "Moved",
    "perform",
]
