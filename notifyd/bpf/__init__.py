"""Classic BPF and profiles as values: what the kernel is to hold, and the program for it.

Owns cubes, profiles, programs, and the way from one to the other and back to a reader's eye.
Knows no rules, no targets and no trio; only `build` imports pyseccomp.
"""
