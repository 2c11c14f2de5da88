"""The dispatch on the architecture."""

from notifyd.bpf import opcodes as op
from notifyd.bpf.join import join
from notifyd.bpf.program import Instruction
from notifyd.bpf.simulate import Machine


def body(value, length):
    """A body that returns a value after `length` instructions that do nothing."""
    return (*[Instruction(op.LD_IMM)] * (length - 1), Instruction(op.RET_K, k=value))


def test_each_architecture_reaches_its_body():
    """Whatever the length of the bodies, farther than a conditional jump reaches too."""
    machine = Machine(join([(7, body(1, 300)), (8, body(2, 300)), (9, body(3, 1))], 4))
    assert [machine.run(audit, 0, (0,) * 6) for audit in (7, 8, 9, 10)] == [1, 2, 3, 4]


def test_without_bodies_everything_is_unknown():
    """A profile without entries answers all calls alike."""
    assert Machine(join([], 4)).run(7, 0, (0,) * 6) == 4
