"""A queue with a store: what survives, what is lost, and what is written while others answer."""

import sqlite3
import threading
from contextlib import closing

import pytest
import trio
import trio.testing
from drafts import ADMIN, NO, SUBJECT, YES, asked, draft, run, shown

from notifyd.approvals.answer_cache import StoredAnswer
from notifyd.approvals.history import HistoryFilter
from notifyd.approvals.question import Answer, QuestionState, Scope
from notifyd.approvals.queue import FIRST_UNSTORED_ID, ApprovalQueue
from notifyd.approvals.store import Store
from notifyd.errors import UsageError


def test_what_survives(tmp_path, told):
    """Grants and history are there after a restart; revoked ones are not."""
    tell = lambda name, level, **fields: told.append((name, fields))  # noqa: E731
    with Store(tmp_path / "a" / "n.db") as store:
        first = ApprovalQueue(tell, store)
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
        second = ApprovalQueue(tell, store)

        async def later(nursery):
            known = [await second.ask(draft(subject={"key": str(n)})) for n in range(3)]
            assert [one.granted for one in known] == [True, False, True]
            assert known[0].answer.person == ADMIN
            second.attended = 1
            await asked(nursery, second, draft(subject={"key": "new"}))
            await shown(second)
            assert second.pending[0].id == 4

        run(second, later)
        history = store.history(HistoryFilter(rule=SUBJECT.rule, key="0"))
        assert [(one["state"], one["reason"], one["person"]) for one in history] == [
            ("granted", "fine", "root")
        ]
        assert oct((tmp_path / "a" / "n.db").stat().st_mode & 0o777) == "0o600"


def test_whoever_shows_the_history_looks_again(tmp_path, told, monkeypatch):
    """The answer goes out before it is written; when it is, there is a change once more."""
    with Store(tmp_path / "n.db") as store:
        found = ApprovalQueue(lambda name, level, **fields: told.append((name, fields)), store)
        found.attended = 1
        end, versions = store.end, []

        def seen(*given):
            versions.append(found.version)
            end(*given)

        monkeypatch.setattr(store, "end", seen)

        async def work(nursery):
            await asked(nursery, found, draft())
            await shown(found)
            await found.answer(found.pending[0].id, YES)
            assert len(await found.history(HistoryFilter())) == 1

        run(found, work)
        assert [found.version] == [one + 1 for one in versions]


def test_a_store_that_fails(tmp_path, told):
    """What a person decides holds; what would have to be kept is not promised."""
    tell = lambda name, level, **fields: told.append((name, fields))  # noqa: E731
    with Store(tmp_path / "n.db") as store:
        found = ApprovalQueue(tell, store)
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


def test_a_store_that_is_removed(tmp_path):
    """Nothing is written into a file that nobody can find, and none is made in its place."""
    with Store(tmp_path / "n.db") as store:
        assert store.ask(draft()) == 1
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(sqlite3.OperationalError, match="was removed"):
            store.ask(draft())
        with pytest.raises(sqlite3.OperationalError) as caught:
            store.history(HistoryFilter())
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN
        Store(tmp_path / "n.db").__exit__()
        with pytest.raises(sqlite3.OperationalError, match="was removed"):
            store.ask(draft())


def test_a_store_that_is_locked(tmp_path, monkeypatch):
    """One question waits for whoever holds it, those behind it do not; afterwards all is well."""
    monkeypatch.setattr("notifyd.approvals.store.BUSY_TIMEOUT_S", 0.2)
    with Store(tmp_path / "n.db") as store, closing(sqlite3.connect(tmp_path / "n.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError) as caught:
                store.ask(draft())
            assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
            assert store._db.execute("PRAGMA busy_timeout").fetchone()[0] == 0
        other.rollback()
        assert store.ask(draft()) == 1
        assert store._db.execute("PRAGMA busy_timeout").fetchone()[0] == 200


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
    """A queue with a slow store, and the store."""
    with Slow(tmp_path / "n.db") as store:
        found = ApprovalQueue(lambda name, level, **fields: told.append((name, fields)), store)
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
        assert one.got.state is QuestionState.GRANTED

    run(desk, work)


def test_ids_of_what_the_store_does_not_take(slow, told):
    """They are nobody else's, neither of what it has taken nor of what it will."""
    desk, store = slow

    async def work(nursery):
        for number, store.full in enumerate([False, True, True, False]):
            await asked(nursery, desk, draft(subject={"key": str(number)}))
            while len(desk.pending) <= number:
                await trio.sleep(0.005)
        assert [one.id for one in desk.pending] == [
            1,
            2,
            FIRST_UNSTORED_ID + 1,
            FIRST_UNSTORED_ID + 2,
        ]
        await desk.answer(FIRST_UNSTORED_ID + 1, YES)
        assert not [one for one in store.history(HistoryFilter()) if one["state"] == "granted"]

    run(desk, work)
    assert [name for name, _ in told].count("approval.lost") == 2


def test_stores_that_cannot_be_used(tmp_path):
    """No database, no permission to be one, and one of the future."""
    (tmp_path / "file").write_text("this is no database" * 100)
    with pytest.raises(UsageError, match="cannot be used for approvals"):
        Store(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be used for approvals"):
        Store(tmp_path)
    with Store(tmp_path / "torn") as store:
        store._db.execute("PRAGMA writable_schema = ON")
        store._db.execute("UPDATE sqlite_schema SET rootpage = 99 WHERE name = 'granted'")
    with pytest.raises(UsageError, match=": move it away, and a new one is made"):
        Store(tmp_path / "torn")
    with Store(tmp_path / "new") as store:
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer notifyd"):
        Store(tmp_path / "new")


def test_answers_of_an_older_notifyd(tmp_path):
    """What does not say which file, section and call it is about holds no more, and is told."""
    path = tmp_path / "old.db"
    with Store(path) as store:
        store.grant(StoredAnswer(0, SUBJECT, True, ADMIN, "", 1, 1.0))
        for table, names in (
            ("question", ("origin", "bound", "world")),
            ("granted", ("origin", "section", "bound", "world")),
        ):
            for name in names:
                store._db.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        store._db.execute("PRAGMA user_version = 1")
    with Store(path) as store:
        assert (store.dropped, store.grants()) == (1, [])
        store.grant(StoredAnswer(0, SUBJECT, True, ADMIN, "", 1, 1.0))
    with Store(path) as store:
        assert (store.dropped, [one.subject for one in store.grants()]) == (0, [SUBJECT])
