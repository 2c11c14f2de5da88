"""Questions at the desk: asked once, answered together, remembered, withdrawn, limited."""

import sqlite3
import threading
import time
from dataclasses import replace

import pytest
import trio
import trio.testing

from notifyd.approvals import desk as module
from notifyd.approvals.desk import Desk
from notifyd.approvals.question import Answer, Person, Question, Scope, State, Subject
from notifyd.approvals.store import Past, Store
from notifyd.errors import UsageError

ADMIN = Person("root", 0, "ctl")
YES, NO = Answer(True, ADMIN), Answer(False, ADMIN, reason="not today")
SUBJECT = Subject("rules.py:ask", "key", 1000, "/usr/bin/curl", "ab" * 32)


def draft(**changes) -> Question:
    """A question that has not been asked yet."""
    subject = replace(SUBJECT, **changes.pop("subject", {}))
    given = {"workload": "w1", "process": "7@1", "within": None, **changes}
    return Question(
        0,
        "may I?",
        subject,
        given["workload"],
        "section",
        given["process"],
        7,
        "Connect",
        "connect",
        {"address": "192.0.2.1:80"},
        tuple(Scope),
        0.0,
        given["within"],
    )


@pytest.fixture
def told():
    """The events that were told."""
    return []


@pytest.fixture
def desk(told):
    """A desk that somebody attends, with no store."""
    found = Desk(lambda name, level, **fields: told.append((name, fields)))
    found.attended = 1
    return found


def run(desk, work):
    """Run an async function with a nursery while the desk lives."""

    async def main():
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.run)
                await work(nursery)
                nursery.cancel_scope.cancel()

    trio.run(main)


class Asker:
    """Somebody who asks, and what they got."""

    def __init__(self, desk, question):
        self.desk, self.question = desk, question
        self.scope = trio.CancelScope()
        self.got = None
        self.over = trio.Event()

    async def run(self):
        with self.scope:
            self.got = await self.desk.ask(self.question)
        self.over.set()


async def asked(nursery, desk, *questions):
    """Start asking; returns when all wait or were answered."""
    askers = [Asker(desk, one) for one in questions]
    for one in askers:  # one after the other: trio starts tasks in any order
        nursery.start_soon(one.run)
        await trio.testing.wait_all_tasks_blocked(0.005)
    return askers


async def shown(desk):
    """Wait until a question has its id, which a store gives in a thread of its own."""
    while not desk.pending:
        await trio.sleep(0.005)


@pytest.mark.parametrize(("answer", "state"), [(YES, State.GRANTED), (NO, State.REFUSED)])
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
        assert (got.state, got.granted) == (State.EXPIRED, False)
        assert "expired" in got.reason

    run(desk, work)
    assert told[-1][0] == "approval.ended"
    assert told[-1][1]["state"] == "expired"


def test_whoever_asked_is_gone(desk, told, monkeypatch):
    """The question is withdrawn after a while; nobody can answer it any more."""
    monkeypatch.setattr(module, "LINGER", 0.1)

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
        (Scope.WORKLOAD, True, True, False, True),
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
        assert (second.got.state, second.got.granted) == (State.SUPERSEDED, False)
        assert first.got.state is State.REFUSED

    run(desk, work)


def test_nobody_is_there(desk, told):
    """Nothing waits for nobody."""
    desk.attended = 0

    async def work(nursery):
        got = await desk.ask(draft())
        assert (got.state, got.why) == (State.UNASKED, "there is nobody to ask")

    run(desk, work)
    assert told[-1][0] == "approval.unasked"


def test_limits(desk, monkeypatch):
    """So many questions of a workload at once, and so many a minute."""
    monkeypatch.setattr(module, "MOST_OPEN", 3)
    monkeypatch.setattr(module, "MOST_A_MINUTE", 5)

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


def test_what_survives(tmp_path, told):
    """Grants and history are there after a restart; revoked ones are not."""
    tell = lambda name, level, **fields: told.append((name, fields))  # noqa: E731
    with Store(tmp_path / "a" / "n.db") as store:
        first = Desk(tell, store)
        first.attended = 1

        async def work(nursery):
            for number in range(3):
                question = draft(subject={"key": str(number)})
                await asked(nursery, first, question)
                await shown(first)
                await first.answer(number + 1, Answer(True, ADMIN, Scope.ALWAYS, reason="fine"))
            await first.revoke(2, "root")
            with pytest.raises(UsageError, match="no grant 2 holds"):
                await first.revoke(2, "root")

        run(first, work)
    with Store(tmp_path / "a" / "n.db") as store:
        second = Desk(tell, store)

        async def later(nursery):
            known = [await second.ask(draft(subject={"key": str(n)})) for n in range(3)]
            assert [one.granted for one in known] == [True, False, True]
            assert known[0].answer.person == ADMIN
            second.attended = 1
            await asked(nursery, second, draft(subject={"key": "new"}))
            await shown(second)
            assert second.pending[0].id == 4

        run(second, later)
        history = store.history(Past(rule=SUBJECT.rule, key="0"))
        assert [(one["state"], one["reason"], one["person"]) for one in history] == [
            ("granted", "fine", "root")
        ]
        assert oct((tmp_path / "a" / "n.db").stat().st_mode & 0o777) == "0o600"


def test_a_store_that_fails(tmp_path, told):
    """What a person decides holds; what would have to be kept is not promised."""
    tell = lambda name, level, **fields: told.append((name, fields))  # noqa: E731
    with Store(tmp_path / "n.db") as store:
        found = Desk(tell, store)
        found.attended = 1
        store._db.execute("DROP TABLE question")
        store._db.execute("DROP TABLE granted")

        async def work(nursery):
            (one,) = await asked(nursery, found, draft())
            await shown(found)
            number = found.pending[0].id
            with pytest.raises(UsageError, match="cannot be kept"):
                await found.answer(number, Answer(True, ADMIN, Scope.ALWAYS))
            await found.answer(number, YES)
            await one.over.wait()
            assert one.got.granted

        run(found, work)
    assert "approval.lost" in [name for name, _ in told]


class Slow(Store):
    """A store that is told when to write a grant, or that it cannot keep a question."""

    def __init__(self, path):
        super().__init__(path)
        self.writes, self.full = threading.Event(), False

    def ask(self, question):
        """As ever, or the error of a full disk."""
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().ask(question)

    def grant(self, grant):
        """As ever, but later."""
        assert self.writes.wait(20)
        return super().grant(grant)


@pytest.fixture
def slow(tmp_path, told):
    """A desk with a slow store, and the store."""
    with Slow(tmp_path / "n.db") as store:
        found = Desk(lambda name, level, **fields: told.append((name, fields)), store)
        found.attended = 1
        yield found, store
        store.writes.set()


def test_several_answers_at_once(slow):
    """The first one counts, also while it is being written; the others are told so."""
    desk, store = slow
    refused = []

    async def late(answer):
        with pytest.raises(UsageError) as caught:
            await desk.answer(1, answer)
        refused.append(str(caught.value))

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft())
        await shown(desk)
        async with trio.open_nursery() as answers:
            answers.start_soon(desk.answer, 1, Answer(True, ADMIN, Scope.ALWAYS))
            await trio.testing.wait_all_tasks_blocked(0.005)
            for answer in (NO, Answer(False, ADMIN, Scope.ALWAYS)):
                answers.start_soon(late, answer)
            await trio.testing.wait_all_tasks_blocked(0.005)
            store.writes.set()
        await one.over.wait()
        assert one.got.granted

    run(desk, work)
    assert refused == ["question 1 is answered already: granted by root by ctl"] * 2
    assert [grant.granted for grant in desk.grants] == [True]


def test_an_answer_that_is_written_when_the_time_is_over(slow):
    """It came in time, and counts."""
    desk, store = slow

    async def work(nursery):
        (one,) = await asked(nursery, desk, draft(within=3600.0))
        await shown(desk)
        nursery.start_soon(desk.answer, 1, Answer(True, ADMIN, Scope.ALWAYS))
        await trio.testing.wait_all_tasks_blocked(0.005)
        (open_one,) = desk._open.values()
        nursery.start_soon(desk._expire, open_one)
        await trio.testing.wait_all_tasks_blocked(0.005)
        store.writes.set()
        await one.over.wait()
        assert one.got.state is State.GRANTED

    run(desk, work)


def test_ids_of_what_the_store_does_not_take(slow, told):
    """They are nobody else's, neither of what it has taken nor of what it will."""
    desk, store = slow

    async def work(nursery):
        for number, store.full in enumerate([False, True, True, False]):
            await asked(nursery, desk, draft(subject={"key": str(number)}))
            while len(desk.pending) <= number:
                await trio.sleep(0.005)
        assert [one.id for one in desk.pending] == [1, 2, module.UNKEPT + 1, module.UNKEPT + 2]
        await desk.answer(module.UNKEPT + 1, YES)
        assert not [one for one in store.history(Past()) if one["state"] == "granted"]

    run(desk, work)
    assert [name for name, _ in told].count("approval.lost") == 2


def test_stores_that_cannot_be_used(tmp_path):
    """No database, no permission to be one, and one of the future."""
    (tmp_path / "file").write_text("this is no database" * 100)
    with pytest.raises(UsageError, match="cannot be used for approvals"):
        Store(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be used for approvals"):
        Store(tmp_path)
    with Store(tmp_path / "new") as store:
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer notifyd"):
        Store(tmp_path / "new")
