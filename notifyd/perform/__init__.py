"""Doing a call for a target: the very values that a rule saw, with no more power than it has."""

from notifyd.perform.network import Performed, perform

__all__ = ["Performed", "perform"]
