"""A small assembler: one program out of one body for each architecture.

Owns the dispatch at the front, which reads the architecture before anything else: a system call
number means nothing without it. Knows nothing of libseccomp and of profiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from notifyd.bpf import opcodes as op
from notifyd.bpf.program import Instruction, Program

__all__ = ["Body", "join"]

Body = tuple[int, tuple[Instruction, ...]]
"""`AUDIT_ARCH_*` and the instructions for it, which load what they need and end by returning."""


def join(bodies: Sequence[Body], otherwise: int) -> Program:
    """A program that runs the body of the call's architecture, and returns `otherwise` for others.

    Raises:
        FilterError: the whole is longer than the kernel takes.
    """
    code = [Instruction(op.LD_ABS, k=op.ARCH_OFFSET)]
    # A conditional jump reaches 255 instructions, JA any number: so each test hops over a JA.
    at = 2 * len(bodies) + 2
    for audit, body in bodies:
        code.append(Instruction(op.JEQ, jt=0, jf=1, k=audit))
        code.append(Instruction(op.JA, k=at - len(code) - 1))
        at += len(body)
    code.append(Instruction(op.RET_K, k=otherwise))
    for _, body in bodies:
        code.extend(body)
    return Program(tuple(code))
