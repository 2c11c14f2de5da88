"""Deciding recorded calls again with other rules: what would change, and what cannot be told.

Everything here is made of events. Nothing looks at a target, and nothing that the record lacks has
a value: a rule that looks there makes the call one that cannot be told.
"""
