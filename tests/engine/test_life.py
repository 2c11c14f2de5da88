"""The life of a notification, as the table tells it and as the engine lives it."""

import os

import pytest
from waiting import until

from notifyd.engine.life import FINAL, NEXT, NotificationState
from notifyd.engine.notification import Notification
from notifyd.kernel import seccomp

KILLABLE = seccomp.FILTER_FLAG_NEW_LISTENER | seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV


def test_every_state_is_in_the_table():
    """No state is forgotten, and each says what it means."""
    assert set(NEXT) == set(NotificationState)
    assert all(state.value for state in NotificationState)


def test_every_life_can_end_at_any_time_and_only_once():
    """A target may be killed, or the supervisor end, whatever is under way."""
    assert all(NEXT[state] >= FINAL for state in set(NotificationState) - FINAL)
    assert not any(NEXT[state] for state in FINAL)


# Rules, what is called, and where its notification stands one after the other.
LIVES = {
    "answered": (
        "@on(Raw('getppid'))\nasync def answer(call):\n    return Return(7)",
        os.getppid,
        ["ANSWERING", "ANSWERED"],
    ),
    "asked": (
        "@on(Raw('getppid'))\ndef ask(call):\n    return Ask('may it?', otherwise=Return(7))",
        os.getppid,
        ["ASKING", "ANSWERING", "ANSWERED"],
    ),
    "performed": (
        "@on(Access)\nasync def look(call):\n    return Allow() if call.path else None",
        lambda: os.access("/", os.R_OK) + 6,
        ["PERFORMING", "ANSWERING", "ANSWERED"],
    ),
}


@pytest.fixture
def lived(monkeypatch):
    """The states that notifications enter, in their order."""
    found = []

    def note(notification, state):
        enter(notification, state)
        found.append(state.name)

    enter = Notification._enter
    monkeypatch.setattr(Notification, "_enter", note)
    return found


@pytest.mark.parametrize("life", LIVES)
def test_a_life(start, supervise, lived, life):
    """One that has an answer."""
    text, called, states = LIVES[life]
    child, listener, _ = start(called, text)

    async def work(_):
        assert await child.status() == 7
        await listener.ended.wait()

    supervise(work, listener)
    assert lived == states


@pytest.mark.parametrize("left", [False, True])
def test_a_life_without_an_answer(start, supervise, lived, left):
    """The target is killed; or the supervisor ends, and there is a successor."""
    text = """
    asked = []

    @on(Raw("getppid"))
    async def waits(call):
        asked.append(call)
        await trio.sleep_forever()
    """
    child, listener, rules = start(os.getppid, text, flags=KILLABLE)

    async def work(_):
        await until(lambda: rules.asked)
        listener.left = left
        if not left:
            child.close()
            await until(lambda: lived)

    supervise(work, listener)
    assert lived == ["LEFT" if left else "GONE"]


def test_a_state_that_does_not_follow_is_an_error(start):
    """A fault of the engine is told, and never a second answer."""
    _, listener, _ = start(os.getppid, "@on(Uname)\ndef no(call):\n    pass")
    notification = Notification(listener, (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0)
    notification.state = NotificationState.GONE
    with pytest.raises(AssertionError, match="GONE -> "):
        notification.conclude(notification.evaluation.conclusion())
