"""How long the loop waits for helpers that were late."""

from notifyd.perform.backoff import BACKOFF_RESET_FACTOR, FIRST_BACKOFF_S, MAX_BACKOFF_S, Backoff


def test_the_loop_waits_until_one_was_late():
    """And again some time later."""
    lateness = Backoff()
    assert lateness.waits(0.0)
    lateness.late(0.0)
    assert not lateness.waits(FIRST_BACKOFF_S * 0.9)
    assert lateness.waits(FIRST_BACKOFF_S)


def test_who_is_late_whenever_it_is_waited_for_hardly_ever_is():
    """In an hour the loop waits for it some hundreds of times, and not at every call."""
    lateness, now, waited = Backoff(), 0.0, 0
    while now < 3600.0:
        if lateness.waits(now):
            waited += 1
            lateness.late(now)
        now += 0.005
    assert waited < 3600 / MAX_BACKOFF_S + 10


def test_who_was_good_for_long_is_forgiven():
    """But for that it has to be good for much longer than it was not waited for."""
    lateness = Backoff()
    for now in (0.0, 1.0):
        lateness.late(now)
    assert not lateness.waits(1.0 + 1.9 * FIRST_BACKOFF_S)
    later = 2.0 + 2 * FIRST_BACKOFF_S * (BACKOFF_RESET_FACTOR + 1)
    lateness.late(later)
    assert lateness.waits(later + FIRST_BACKOFF_S)
