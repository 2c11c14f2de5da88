"""Whose turn it is: the order, without a clock, a listener or a call."""

import pytest

from notifyd.engine.turns import MAX_CREDIT_NS, Turns

US = 1000  # nanoseconds
MS = 1000 * US


class World:
    """A loop with time of its own: `busy` workloads are always ready, and cost so much a turn."""

    def __init__(self, busy: int, cost: int) -> None:
        self.turns, self.now, self.cost = Turns(), 0, cost
        self.got = [0] * busy
        self.busy = [self.turns.open(number) for number in range(busy)]
        for share in self.busy:
            self.turns.enter(share, 0)

    def turn(self, costs=None):
        """Give one turn; return whose it was."""
        share = self.turns.take()
        cost = self.cost if costs is None else costs.get(share.of, self.cost)
        self.now += cost
        self.turns.charge(share, cost)
        self.turns.expect(share, cost)
        if share in self.busy:
            self.got[share.of] += cost
            self.turns.enter(share, self.now)
        else:
            self.turns.leave(share, self.now)
        return share.of

    def for_some_time(self, duration, costs=None):
        """Give turns for that long."""
        end = self.now + duration
        while self.now < end:
            self.turn(costs)


def test_equals_have_their_turns_one_after_the_other():
    """In the order in which they became ready."""
    world = World(3, 100 * US)
    assert [world.turn() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("cost", [150 * US, MS, 8 * MS])
@pytest.mark.parametrize("dear", [False, True], ids=["cheap", "dear"])
def test_who_calls_now_and_then_is_always_next(cost, dear):
    """Beside 63 that are busy, whatever a turn of theirs costs: a call waits for the one turn."""
    world = World(63, cost)
    world.for_some_time(100 * cost)
    quiet = world.turns.open("quiet")
    for _ in range(500):
        world.for_some_time(8 * MS)
        world.turns.enter(quiet, world.now)
        assert world.turn({"quiet": (300 if dear else 30) * US}) == "quiet"


def test_a_crowd_that_pretends_to_be_quiet_does_not_stand_before_cheap_calls():
    """All of 63 were away as long, but their turns are dear; each was seen once."""
    turns = Turns()
    crowd = [turns.open(number) for number in range(63)]
    quiet, now = turns.open("quiet"), 0
    for share, cost in [*((one, MS) for one in crowd), (quiet, 30 * US)]:
        turns.charge(share, cost)
        turns.expect(share, cost)
        turns.leave(share, now)
    now += 1000 * MS
    for share in (*crowd, quiet):
        turns.enter(share, now)
    assert turns.take() is quiet


def test_time_is_shared_and_not_turns():
    """Who takes ten times as long in each turn has a tenth of the turns."""
    world = World(4, 100 * US)
    world.for_some_time(400 * MS, {0: MS})
    assert max(world.got) < 1.1 * min(world.got)


def test_what_is_charged_beside_a_turn_counts():
    """A workload whose tasks use up the loop has its turns later."""
    world = World(2, 100 * US)
    world.turns.charge(world.busy[0], 3 * MS)
    assert world.turn() == 0  # was in the queue before
    assert [world.turn() for _ in range(20)] == [1] * 20


def test_nobody_is_kept_from_its_turn_for_ever():
    """A crowd that always pays back enough to stand first gets no more than half."""
    world = World(1, 100 * US)
    crowd = [world.turns.open(f"crowd {number}") for number in range(60)]
    away = dict.fromkeys(crowd, 0)
    while world.now < 3000 * MS:
        for share in crowd:
            if not share.queued and world.now - away[share] >= 9 * MS:
                world.turns.enter(share, world.now)
        before = world.now
        of = world.turn({share.of: MS for share in crowd})
        if of:
            away[crowd[int(of.split()[1])]] = world.now
        assert world.now > before
    assert world.got[0] > 3000 * MS / 61 / 2 - 2 * MAX_CREDIT_NS


def test_a_new_one_does_not_have_all_that_others_had():
    """What others used before it came is no credit of its own."""
    world = World(2, 100 * US)
    world.for_some_time(1000 * MS)
    new = world.turns.open(2)
    world.busy.append(new)
    world.got = [0, 0, 0]
    world.turns.enter(new, world.now)
    world.for_some_time(30 * MS)
    assert max(world.got) < 2 * min(world.got)


def test_being_away_pays_back_no_more_than_a_credit():
    """However long it was."""
    world = World(2, 100 * US)
    away = world.turns.open(2)
    world.turns.leave(away, world.now)
    world.for_some_time(60_000 * MS)
    world.busy.append(away)
    world.got = [0, 0, 0]
    world.turns.enter(away, world.now)
    world.for_some_time(100 * MS)
    assert world.got[2] <= 100 * MS / 3 + 2 * MAX_CREDIT_NS


def test_nobody_is_queued_twice():
    """Entering again keeps the place."""
    turns = Turns()
    one, other = turns.open(1), turns.open(2)
    for share in (one, other, one):
        turns.enter(share, 0)
    assert [turns.take(), turns.take(), turns.take()] == [one, other, None]
