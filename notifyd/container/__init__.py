"""Containers: the seccomp profile that makes them report to notifyd, and the runtime wrapper.

Owns base profiles, what rules make of them, and the change to a bundle's `config.json`. The wrapper
starts with every call that an engine makes to its runtime, so nothing here is imported early.
"""
