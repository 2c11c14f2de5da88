"""What may be typed at a question; the same at both terminals where one is asked."""

import pytest

from notifyd.approvals.question import Scope
from notifyd.cli.answers import Choices, TypedAnswer
from notifyd.errors import UsageError

EVERY = tuple(Scope)
ONCE = (Scope.ONCE,)
SAID = {
    "y": TypedAnswer(True),
    "  YES ": TypedAnswer(True),
    "no": TypedAnswer(False),
    "n: Not Today: no": TypedAnswer(False, reason="Not Today: no"),
    "process": TypedAnswer(True, Scope.PROCESS),
    "p": TypedAnswer(True, Scope.PROCESS),
    "no p": TypedAnswer(False, Scope.PROCESS),
    "r": TypedAnswer(True, Scope.WORKLOAD),
    "yes run": TypedAnswer(True, Scope.WORKLOAD),
    "workload": TypedAnswer(True, Scope.WORKLOAD),
    "10m": TypedAnswer(True, Scope.MINUTES, 10),
    "2 h: a deploy": TypedAnswer(True, Scope.MINUTES, 120, "a deploy"),
    "no 1d": TypedAnswer(False, Scope.MINUTES, 1440),
    "n10m": TypedAnswer(False, Scope.MINUTES, 10),
    "no 5 minutes": TypedAnswer(False, Scope.MINUTES, 5),
    "365d": TypedAnswer(True, Scope.MINUTES, 525_600),
    "always": TypedAnswer(True, Scope.ALWAYS),
    "never": TypedAnswer(False, Scope.ALWAYS),
    "no always": TypedAnswer(False, Scope.ALWAYS),
}
WRONG = ("", "?", ":", ": why", "a", "yy", "ya", "yes please", "yes never", "yes no", "noprocess")
WRONG += ("0m", "366d", "999999d", "10", "1" * 30 + "m", "\u0663m", "y\x1b[A", "s\x00")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("line", SAID)
def test_answers(line, shared):
    """A line means the same wherever it is typed."""
    assert Choices(EVERY, shared).parse(line) == SAID[line]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("line", WRONG)
def test_what_is_no_answer(line, shared):
    """It is told what is, on lines that move nothing."""
    with pytest.raises(UsageError, match="not this time") as error:
        Choices(EVERY, shared).parse(line)
    assert all(one.isprintable() for one in str(error.value).splitlines())


@pytest.mark.parametrize("line", [one for one in SAID if SAID[one].scope is not Scope.ONCE])
def test_what_is_not_offered(line):
    """It is no answer, and not in the prompt or the help."""
    with pytest.raises(UsageError, match=f"for {SAID[line].scope.value}:") as error:
        Choices(ONCE).parse(line)
    assert not {"process", "run", "10m", "always", "never"} & set(str(error.value).split())
    assert Choices(ONCE).prompt == "allow it? [y/n, ? for help] "


def test_every_word_of_the_prompt_and_of_the_help_is_understood():
    """Nothing is offered that is then refused."""
    choices = Choices(EVERY, shared=True)
    words = choices.prompt.partition("[")[2].partition(",")[0].split("/")
    with pytest.raises(UsageError) as help_:
        choices.parse("?")
    for line in str(help_.value).splitlines():
        words += [word.replace("...", "10m") for word in line[2:13].strip().split(", ")]
    assert len(words) > 20
    for word in words:
        choices.parse(word)


def test_ways_out():
    """Skipping and leaving are for where others can answer."""
    for line, meant in {"s": "skip", "skip": "skip", "q": "quit", " Quit": "quit"}.items():
        assert Choices(EVERY, shared=True).parse(line) == meant
        with pytest.raises(UsageError):
            Choices(EVERY).parse(line)


def test_a_reason_too_long():
    """It is not cut: the person would not know."""
    assert Choices(ONCE).parse("n:" + "x" * 1000) == TypedAnswer(False, reason="x" * 1000)
    with pytest.raises(UsageError, match="at most 1000"):
        Choices(ONCE).parse("n:" + "x" * 1001)
