"""Ordered clauses as instructions."""

import itertools

from notifyd.bpf import opcodes as op
from notifyd.bpf.cubes import both, equal, has_any, one_of
from notifyd.bpf.ordered import order
from notifyd.bpf.profile import ALLOW, NOTIFY, Clause, Masked, errno_action
from notifyd.bpf.program import Program
from notifyd.bpf.simulate import Machine

EPERM = errno_action(1)
ALWAYS = ((),)


def ordered(*clauses, default=ALLOW, limit=100, may_notify=True):
    return order(clauses, default, limit, may_notify=may_notify)


def test_the_first_clause_that_holds_decides():
    """Clauses that overlap keep their order, on both halves of the arguments."""
    clauses = (
        Clause(EPERM, both(equal(0, 64, 1 << 32 | 1), equal(1, 32, 2))),
        Clause(NOTIFY, both(one_of(0, 8, [1, 2]), has_any(1, 6))),
        Clause(errno_action(2), equal(1, 32, 4)),
    )
    machine = Machine(Program(tuple(ordered(*clauses).code())))
    for a, b in itertools.product((0, 1, 2, 3, 1 << 32 | 1, 1 << 32 | 2), range(8)):
        args = (a, b, 0, 0, 0, 0)
        wanted = next((one.action for one in clauses if one.holds(args)), ALLOW)
        assert machine.run(0, 0, args) == wanted.value, args


def test_tests_of_one_word_in_a_row_load_it_once():
    """A list of values costs two instructions each, not three."""
    clause = Clause(NOTIFY, tuple((Masked(0, 0xFFFFFFFF, value),) for value in (1, 2, 4)))
    code = list(ordered(clause).code())
    assert [one.code for one in code].count(op.LD_ABS) == 1
    assert len(code) == 1 + 3 * 2 + 1


def test_what_cannot_be_reached_is_left_out():
    """Nothing follows a clause that always holds; it becomes what decides at the end."""
    made = ordered(Clause(EPERM, equal(0, 8, 1)), Clause(NOTIFY, ALWAYS), Clause(EPERM, ALWAYS))
    assert [clause.action for clause in made.clauses] == [EPERM]
    assert made.otherwise == NOTIFY


def test_what_changes_nothing_is_left_out():
    """A last clause with the default's action says nothing; an earlier one does."""
    allowed = Clause(ALLOW, equal(0, 8, 1))
    assert ordered(allowed).clauses == ()
    assert ordered(allowed, Clause(EPERM, ())).clauses == ()
    assert len(ordered(allowed, Clause(EPERM, equal(0, 8, 1))).clauses) == 2


def test_too_many_conditions_are_notified():
    """From the clause on that does not fit, the supervisor is asked."""
    many = Clause(EPERM, tuple((Masked(0, 0xFF, value),) for value in range(10)))
    made = ordered(Clause(EPERM, equal(1, 8, 1)), many, limit=10)
    assert made.widened
    assert made.otherwise == NOTIFY
    assert len(made.clauses) == 1


def test_without_a_supervisor_nothing_is_widened():
    """Where nobody answers notifications all conditions are written down."""
    many = Clause(EPERM, tuple((Masked(0, 0xFF, value),) for value in range(10)))
    made = ordered(many, limit=1, may_notify=False)
    assert made.clauses == (many,)
    assert not made.widened
