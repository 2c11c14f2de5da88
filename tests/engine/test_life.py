"""The life of a notification, as the table tells it."""

from notifyd.engine.life import FINAL, NEXT, State


def test_every_state_is_in_the_table():
    """No state is forgotten, and each says what it means."""
    assert set(NEXT) == set(State)
    assert all(state.value for state in State)


def test_every_life_ends_answered_or_gone():
    """From each state the end can be reached, and there are two ends."""
    assert {State.ANSWERED, State.GONE} == FINAL
    reached = set(FINAL)
    while more := {state for state in State if NEXT[state] & reached} - reached:
        reached |= more
    assert reached == set(State)


def test_nothing_is_answered_before_it_is_received():
    """Pending calls are the kernel's; only what was received has an answer."""
    assert NEXT[State.PENDING] == {State.RECEIVED, State.GONE}
    assert all(State.PENDING not in after for after in NEXT.values())
