"""How long the loop waits for helpers that were late."""

from notifyd.perform.lateness import FIRST, FORGIVEN, MOST, Lateness


def test_the_loop_waits_until_one_was_late():
    """And again some time later."""
    lateness = Lateness()
    assert lateness.waits(0.0)
    lateness.late(0.0)
    assert not lateness.waits(FIRST * 0.9)
    assert lateness.waits(FIRST)


def test_who_is_late_whenever_it_is_waited_for_hardly_ever_is():
    """In an hour the loop waits for it some hundreds of times, and not at every call."""
    lateness, now, waited = Lateness(), 0.0, 0
    while now < 3600.0:
        if lateness.waits(now):
            waited += 1
            lateness.late(now)
        now += 0.005
    assert waited < 3600 / MOST + 10


def test_who_was_good_for_long_is_forgiven():
    """But for that it has to be good for much longer than it was not waited for."""
    lateness = Lateness()
    for now in (0.0, 1.0):
        lateness.late(now)
    assert not lateness.waits(1.0 + 1.9 * FIRST)
    later = 2.0 + 2 * FIRST * (FORGIVEN + 1)
    lateness.late(later)
    assert lateness.waits(later + FIRST)
