"""Tokens and sessions, by the clock."""

import pytest

from notifyd.console import sessions
from notifyd.console.sessions import LoginRefused, Sessions, TooManyLogins


class Clock:
    """Seconds that a test turns on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_secrets_are_random_and_not_kept():
    """256 bits each, all different; what is kept is no secret."""
    ours = Sessions(Clock())
    token = ours.mint(7, "seven")
    login = ours.redeem(token)
    secrets = {token, login.cookie, login.page}
    assert len(secrets) == 3
    assert all(len(one) == 43 for one in secrets)  # 32 bytes in base64
    kept = repr((ours.__dict__, login, login.session, login.session._page))
    assert not any(one in kept for one in secrets)


def test_only_both_secrets_are_somebody():
    """Of the same session, and while it lasts."""
    ours = Sessions(Clock())
    one, two = (ours.redeem(ours.mint(uid, "x")) for uid in (1, 2))
    assert ours.find(one.cookie, one.page) is one.session
    for cookie, page in ((one.cookie, two.page), (one.page, one.cookie), ("", ""), ("\ud800", "")):
        assert ours.find(cookie, page) is None


def test_tokens_are_few():
    """The oldest goes when there are too many."""
    ours = Sessions(Clock())
    tokens = [ours.mint(0, "root") for _ in range(sessions.MAX_TOKENS + 1)]
    with pytest.raises(LoginRefused):
        ours.redeem(tokens[0])
    assert ours.redeem(tokens[1]).session.uid == 0


def test_sessions_are_few():
    """Whoever was away the longest goes when there are too many."""
    clock = Clock()
    ours = Sessions(clock)
    logins = []
    for _ in range(sessions.MAX_SESSIONS):
        clock.now += 1
        logins.append(ours.redeem(ours.mint(0, "root")))
    clock.now += 1
    ours.touch(logins[0].session)
    ours.redeem(ours.mint(0, "root"))
    assert ours.find(logins[0].cookie, logins[0].page)
    assert ours.find(logins[1].cookie, logins[1].page) is None
    assert len(ours.present) == sessions.MAX_SESSIONS


def test_the_limit_on_guesses_counts_a_minute():
    """A wrong one a minute ago counts no more, and those that were too many do not add up."""
    clock = Clock()
    ours = Sessions(clock)
    for _ in range(sessions.MAX_WRONG_TOKENS_PER_MINUTE):
        with pytest.raises(LoginRefused):
            ours.redeem("wrong")
    for _ in range(100):
        with pytest.raises(TooManyLogins):
            ours.redeem("wrong")
    clock.now += 61
    with pytest.raises(LoginRefused) as refused:
        ours.redeem("wrong")
    assert not isinstance(refused.value, TooManyLogins)


def test_ending_all():
    """A user's own, with the tokens that wait; everybody's for root."""
    ours = Sessions(Clock())
    token = ours.mint(1, "one")
    for uid in (1, 2, 2):
        ours.redeem(ours.mint(uid, "x"))
    assert ours.end_all(1) == 1
    with pytest.raises(LoginRefused):
        ours.redeem(token)
    assert ours.end_all(0) == 2
    assert ours.present == ()
