"""Names of flags and constants, by man page.

For writing events, and for rules about what the standard library has no name for. Facts only.
"""
