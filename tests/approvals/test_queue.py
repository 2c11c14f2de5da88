"""Questions at the queue: asked once, answered together, remembered, withdrawn, limited."""

import time
from dataclasses import replace

import pytest
import trio
from drafts import ADMIN, NO, YES, asked, draft, run

from notifyd.approvals import queue as module
from notifyd.approvals.question import Answer, QuestionState, Scope
from notifyd.approvals.queue import ApprovalQueue
from notifyd.errors import UsageError


@pytest.fixture
def desk(told):
    """A queue that somebody attends, with no store."""
    found = ApprovalQueue(lambda name, level, **fields: told.append((name, fields)))
    found.attended = 1
    return found


@pytest.mark.parametrize(
    ("answer", "state"), [(YES, QuestionState.GRANTED), (NO, QuestionState.REFUSED)]
)
def test_an_answer(desk, told, answer, state):
    """It reaches the one who asked, with who said it and why, and is told."""

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft())
        (question,) = desk.pending
        assert question.id == 1
        await desk.answer(1, answer)
        await one.over.wait()
        assert (one.got.state, one.got.granted, one.got.question) == (state, answer.granted, 1)
        assert "by root by ctl" in one.got.reason
        assert desk.pending == ()

    run(desk, work)
    assert [name for name, _ in told] == ["approval.asked", "approval.answered"]
    assert told[1][1]["state"] == state.value


def test_equal_questions_are_asked_once(desk):
    """Of one workload and user, from several processes; others ask for themselves."""

    async def work(nursery):
        others = [draft(process=f"{n}@1") for n in range(5)]
        strangers = draft(workload="w2"), draft(subject={"uid": 0})
        askers = await asked(nursery, desk, *others, *strangers)
        assert [one.workload for one in desk.pending] == ["w1", "w2", "w1"]
        await desk.answer(1, YES)
        for one in askers[:5]:
            await one.over.wait()
            assert one.got.granted
        assert askers[5].got is askers[6].got is None

    run(desk, work)


def test_no_answer_in_time(desk, told):
    """That is not a refusal, and the event says so."""

    async def work(nursery):
        got = await desk.ask(draft(within=0.05))
        assert (got.state, got.granted) == (QuestionState.EXPIRED, False)
        assert "expired" in got.reason

    run(desk, work)
    assert told[-1][0] == "approval.ended"
    assert told[-1][1]["state"] == "expired"


def test_whoever_asked_is_gone(desk, told, monkeypatch):
    """The question is withdrawn after a while; nobody can answer it any more."""
    monkeypatch.setattr(module, "QUESTION_LINGER_S", 0.1)

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft())
        one.scope.cancel()
        while desk.pending:
            await trio.sleep(0.02)
        with pytest.raises(UsageError, match="question 1 waits no more, it is withdrawn"):
            await desk.answer(1, YES)

    run(desk, work)
    assert told[-1][1]["state"] == "withdrawn"


def test_a_call_that_comes_again_joins_its_question(desk, told):
    """After a signal the same call is notified anew: it is not asked twice."""

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft())
        one.scope.cancel()
        await one.over.wait()
        (again,) = await asked(nursery, desk, draft())
        assert len(desk.pending) == 1
        await desk.answer(1, YES)
        await again.over.wait()
        assert again.got.granted

    run(desk, work)
    assert [name for name, _ in told] == ["approval.asked", "approval.answered"]


@pytest.mark.parametrize(
    ("scope", "same", "process", "workload", "exe"),
    [
        (Scope.ONCE, False, False, False, False),
        (Scope.PROCESS, True, False, False, False),
        (Scope.WORKLOAD, True, True, False, False),
        (Scope.MINUTES, True, True, True, False),
        (Scope.ALWAYS, True, True, True, False),
    ],
)
def test_what_is_remembered(desk, scope, same, process, workload, exe):
    """For this process, this workload, some minutes, always; never for another program."""
    others = {
        "same": (draft(), same),
        "process": (draft(process="8@1"), process),
        "workload": (draft(workload="w2"), workload),
        "exe": (draft(subject={"digest": "cd" * 32}), exe),
        "key": (draft(subject={"key": "other"}), False),
        "rule": (draft(subject={"rule": "other.py:ask"}), False),
        "user": (draft(subject={"uid": 0}), False),
        "program": (draft(subject={"program": "ef" * 32}), False),
        "file": (draft(subject={"origin": "/b/rules.py"}), False),
        "section": (draft(subject={"section": "other"}), False),
        "arguments": (draft(subject={"bound": "12" * 32}), False),
        "namespaces": (draft(subject={"world": "w1 4026531841"}), False),
    }

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft())
        await desk.answer(1, Answer(True, ADMIN, scope, 5))
        await one.over.wait()
        for name, (question, known) in others.items():
            (asker,) = await asked(nursery, desk, question)
            assert (asker.got is not None) is known, name
            asker.scope.cancel()
            await asker.over.wait()

    run(desk, work)


def test_minutes_pass(desk, monkeypatch):
    """An answer for some minutes does not hold longer."""

    async def work(nursery):
        await asked(nursery, desk, draft())
        await desk.answer(1, Answer(True, ADMIN, Scope.MINUTES, 1))
        assert (await desk.ask(draft())).granted
        later = time.time() + 61
        monkeypatch.setattr(module.time, "time", lambda: later)
        assert desk.grants == ()
        (again,) = await asked(nursery, desk, draft())
        assert again.got is None

    run(desk, work)


def test_one_answer_for_several_questions(desk, told):
    """What is remembered answers those that wait elsewhere: they are superseded."""

    async def work(nursery):
        first, second = await asked(nursery, desk, draft(), draft(workload="w2"))
        await desk.answer(1, Answer(False, ADMIN, Scope.ALWAYS))
        await second.over.wait()
        assert (second.got.state, second.got.granted) == (QuestionState.SUPERSEDED, False)
        assert first.got.state is QuestionState.REFUSED

    run(desk, work)


def test_nobody_is_there(desk, told):
    """Nothing waits for nobody."""
    desk.attended = 0

    async def work(nursery):
        got = await desk.ask(draft())
        assert (got.state, got.why) == (QuestionState.UNASKED, "there is nobody to ask")

    run(desk, work)
    assert told[-1][0] == "approval.unasked"


def test_limits(desk, monkeypatch):
    """So many questions of a workload at once, and so many a minute."""
    monkeypatch.setattr(module, "MAX_OPEN_QUESTIONS", 3)
    monkeypatch.setattr(module, "MAX_QUESTIONS_PER_MINUTE", 5)

    async def work(nursery):
        keys = [draft(subject={"key": str(n)}) for n in range(9)]
        askers = await asked(nursery, desk, *keys[:4])
        assert "3 questions of this workload wait" in askers[3].got.why
        for question in desk.pending:
            await desk.answer(question.id, YES)
        await asked(nursery, desk, *keys[4:6])
        (late,) = await asked(nursery, desk, keys[6])
        assert "has asked 5 questions within a minute" in late.got.why
        (other,) = await asked(nursery, desk, draft(workload="w2"))
        assert other.got is None

    run(desk, work)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(True, ADMIN, Scope.ALWAYS), "cannot be answered for always: once, process"),
        (Answer(True, ADMIN, Scope.MINUTES, 5), "cannot be answered for minutes"),
    ],
)
def test_scopes_that_are_not_offered(desk, answer, said):
    """The rule says how long an answer may be remembered."""

    async def work(nursery):
        question = replace(draft(), scopes=(Scope.ONCE, Scope.PROCESS))
        await asked(nursery, desk, question)
        with pytest.raises(UsageError, match=said):
            await desk.answer(1, answer)
        assert len(desk.pending) == 1

    run(desk, work)


@pytest.mark.parametrize("minutes", [0, -1, 525_601, float("nan"), float("inf")])
def test_minutes_that_are_none(desk, minutes):
    """A number of minutes up to a year."""

    async def work(nursery):
        await asked(nursery, desk, draft())
        with pytest.raises(UsageError, match="says how many"):
            await desk.answer(1, Answer(True, ADMIN, Scope.MINUTES, minutes))

    run(desk, work)
