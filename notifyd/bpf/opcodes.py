"""The instruction codes of classic BPF that seccomp knows, by name. Source: linux/bpf_common.h.

Owns numbers only. `LD_*` loads the accumulator A, `LDX_*` the register X; `_K` takes the
instruction's own number, `_X` the register.
"""

from __future__ import annotations

from types import MappingProxyType

LD_ABS = 0x20
LD_LEN = 0x80
LD_IMM = 0x00
LD_MEM = 0x60
LDX_LEN = 0x81
LDX_IMM = 0x01
LDX_MEM = 0x61
ST = 0x02
STX = 0x03
TAX = 0x07
TXA = 0x87
RET_K = 0x06
RET_A = 0x16
NEG = 0x84
JA = 0x05

WITH_X = 0x08  # added to an ALU or jump code: the operand is X, not K

ADD = 0x04
SUB = 0x14
MUL = 0x24
DIV = 0x34
OR = 0x44
AND = 0x54
LSH = 0x64
RSH = 0x74
XOR = 0xA4

JEQ = 0x15
JGT = 0x25
JGE = 0x35
JSET = 0x45

# Each with the sign that a reader knows it by.
ALU_CODES = MappingProxyType(
    {ADD: "+", SUB: "-", MUL: "*", DIV: "/"} | {OR: "|", AND: "&", XOR: "^", LSH: "<<", RSH: ">>"}
)
JUMP_CODES = MappingProxyType({JEQ: "==", JGT: ">", JGE: ">=", JSET: "&"})

# struct seccomp_data: nr, arch, instruction_pointer, args[6]; see seccomp(2)
SECCOMP_DATA_SIZE = 64
NR_OFFSET = 0
ARCH_OFFSET = 4
IP_OFFSET = 8
ARGS_OFFSET = 16
MEMORY_WORDS = 16
