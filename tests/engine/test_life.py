"""The life of a notification, as the table tells it."""

from notifyd.engine.life import FINAL, NEXT, NotificationState


def test_every_state_is_in_the_table():
    """No state is forgotten, and each says what it means."""
    assert set(NEXT) == set(NotificationState)
    assert all(state.value for state in NotificationState)


def test_every_life_ends_answered_or_gone():
    """From each state the end can be reached, and there are two ends."""
    assert {NotificationState.ANSWERED, NotificationState.GONE} == FINAL
    reached = set(FINAL)
    while more := {state for state in NotificationState if NEXT[state] & reached} - reached:
        reached |= more
    assert reached == set(NotificationState)


def test_nothing_is_answered_before_it_is_received():
    """Pending calls are the kernel's; only what was received has an answer."""
    assert NEXT[NotificationState.PENDING] == {NotificationState.RECEIVED, NotificationState.GONE}
    assert all(NotificationState.PENDING not in after for after in NEXT.values())
