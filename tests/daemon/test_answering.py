"""Questions over the control socket: who is shown what, who may answer, and what comes of it."""

import os
import pwd
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from living import ASKS, results

from notifyd.approvals.question import Question, Scope, Subject
from notifyd.approvals.store import Store
from notifyd.daemon.approval_messages import ActingFor
from notifyd.daemon.daemon import Daemon
from notifyd.daemon.rights import ControlContext, Forbidden
from notifyd.daemon.subordinate import users_behind
from notifyd.intake.arrival import Peer

ROOT = Path(__file__).resolve().parents[2]
OWN = "[approvals]\nself-approval = true\n"


@pytest.fixture
def store(tmp_path):
    """An empty database."""
    with Store(tmp_path / "approvals.db") as found:
        yield found


async def asked(ground, client, name: str = "web") -> dict:
    """The only question that waits, after a workload has made a call."""
    ground.call(name, b"n")
    await ground.until(lambda: ground.daemon.queue.pending)
    (question,) = await client.ask("pending")
    return question


@pytest.mark.parametrize(("command", "got"), [("approve", "continued"), ("deny", "EACCES")])
def test_an_answer(live, capsys, command, got):
    """It is shown with who asks and why, answered once, and the call goes on accordingly."""

    async def work(ground):
        web = ground.daemon.workloads["web"]
        async with ground.client() as client:
            question = await asked(ground, client)
            me, *others = question["tree"]
            assert me["pid"] == question["pid"] == web.members[0].pid
            assert others[0]["pid"] == os.getpid()
            assert "pytest" in others[0]["cmdline"]
            assert question["title"] == "Names are asked for."
            assert question["rule"] == "r.py:name"
            assert question["scopes"] == ["once", "process", "workload"]
            assert (question["container"], question["history"]) == ("", [])
            done = await client.ask(command, id=question["id"], reason="because\n\x1b[1m")
            assert done["granted"] == (command == "approve")
            await ground.counted(web, 1)
            assert results(web) == [got]
            assert await client.ask("pending") == []
            late = await client.ask(command, id=question["id"])
            assert late.startswith(f"question {question['id']} is answered already: ")
            assert await client.ask(command, id=99) == (
                "no question 99 waits: see `notifyd ctl pending`"
            )

    live(work, children=("web",), rules=ASKS, top=OWN)
    err = capsys.readouterr().err
    assert f"control: {command} by " in err
    assert "\x1b" not in err


def test_scopes(live):
    """One that is not offered is refused; one for the workload answers what comes."""

    async def work(ground):
        web = ground.daemon.workloads["web"]
        async with ground.client() as client:
            question = await asked(ground, client)
            wrong = await client.ask("approve", id=question["id"], scope="always")
            assert wrong.endswith("cannot be answered for always: once, process, workload")
            await client.ask("approve", id=question["id"], scope="workload")
            ground.call("web", b"nn")
            await ground.counted(web, 3)
            assert results(web) == ["continued"] * 3

    live(work, children=("web",), rules=ASKS, top=OWN)


def test_the_stream(live):
    """The list comes at once, and again when something changes; a withdrawn question is gone."""

    async def work(ground):
        async with ground.client() as client:
            assert await client.ask("questions") == []
            ground.call("web", b"n")
            (question,) = (await client.line())["result"]
            assert question["workload"] == "web"
            ground.daemon.workloads["web"].kill()
            assert (await client.line())["result"] == []

    live(work, children=("web",), rules=ASKS)


def test_a_reader_that_does_not_read(live):
    """It slows nobody down, and gets the latest when it reads again."""

    async def work(ground):
        async with ground.client() as deaf, ground.client() as client:
            await deaf.send(b'{"notifyd":1,"command":"questions"}\n')
            for _ in range(30):
                question = await asked(ground, client)
                await client.ask("approve", id=question["id"])
            last = None
            while (line := await deaf.line())["result"] or last is None:
                last = line
            assert line["result"] == []

    live(work, children=("web",), rules=ASKS, top=OWN)


NOBODY = pwd.getpwnam("nobody").pw_uid
ALICE = Peer(1, 1234, 1234, "alice", (7, 8))


def question_of(uid: int) -> Question:
    """A question of a user's program."""
    subject = Subject("r.py:name", "key", uid, "/bin/x", "")
    return Question(
        1, "?", subject, "web", "all", "1@1", 1, "Uname", "uname", {}, (Scope.ONCE,), 0.0
    )


@pytest.mark.parametrize(
    ("users", "approvals", "may"),
    [
        ((), "", False),
        ((1234,), "", True),
        ("any", "", False),
        ((), "users = [1234]", True),
        ((), "groups = [8]", True),
        ((), "groups = [9]", False),
    ],
)
def test_who_may_answer(policies, users, approvals, may):
    """Whom the configuration names, by user or group; not those who may only read."""
    desk = ControlContext(
        Daemon(policies(users=users, top=f"[approvals]\n{approvals}"), None), None
    )
    if may:
        desk.check_reads(ALICE)
        desk.check_answers(ALICE, "approve", None)
        with pytest.raises(Forbidden, match="on behalf of others"):
            desk.check_answers(ALICE, "approve", ActingFor("root", "console"))
    else:
        with pytest.raises(Forbidden, match="uid 1234 may not approve"):
            desk.check_answers(ALICE, "approve", None)


def test_whose_program_it_is(policies):
    """It is theirs who own its user namespaces; where that cannot be told, root alone approves."""
    desk = ControlContext(Daemon(policies(top="[approvals]\nusers = [1234]"), None), None)
    others = replace(question_of(700_000), owners=frozenset({0, 4321}))
    desk.check_own(ALICE, others, None)
    with pytest.raises(Forbidden, match="uid 1234 may not approve what its own programs"):
        desk.check_own(ALICE, replace(others, owners=frozenset({700_000, 1234})), None)
    untold = replace(others, owners=frozenset({-1}))
    with pytest.raises(Forbidden, match="cannot be told"):
        desk.check_own(ALICE, untold, None)
    desk.check_own(Peer(1, 0, 0, "root"), untold, None)


def test_subordinate_ids(tmp_path):
    """A subordinate id is its user's; lines that make no sense are nobody's."""
    file = tmp_path / "subuid"
    file.write_text("1234:700000:65536\nroot:900000:2\nnobody-there:1:9\nrubbish\n:::\n")
    assert users_behind({700_000, 765_535, 5}, file) == {700_000, 765_535, 5, 1234}
    assert users_behind({765_536, 900_001}, file) == {765_536, 900_001, 0}
    assert users_behind({1}, tmp_path / "none") == {1}


@pytest.mark.parametrize(
    ("approvals", "may"), [("users = [1234]", True), ("users = [4321]", False)]
)
def test_a_front_end_lends_nobody_its_rights(policies, approvals, may):
    """Root's word that a user decides is believed; whether that user may is looked at."""
    desk = ControlContext(Daemon(policies(top=f"[approvals]\n{approvals}"), None), None)
    root = Peer(1, 0, 0, "console")
    desk.check_answers(root, "approve", ActingFor("root", "console", uid=0))
    desk.check_answers(root, "approve", ActingFor("a bot", "webhook"))
    if may:
        desk.check_answers(root, "approve", ActingFor("alice", "console", uid=1234))
    else:
        with pytest.raises(
            Forbidden, match=r"uid 1234, whom console .* speaks for, may not approve"
        ):
            desk.check_answers(root, "approve", ActingFor("alice", "console", uid=1234))


def test_who_may_approve_their_own(policies):
    """Only root, unless the configuration says so; a front end's word counts against it, too."""
    desk = ControlContext(Daemon(policies(), None), None)
    root = Peer(1, 0, 0, "console")
    desk.check_own(ALICE, question_of(4321), None)
    desk.check_own(root, question_of(0), None)
    desk.check_own(root, question_of(1234), ActingFor("bob", "console"))
    for peer, person in ((ALICE, None), (root, ActingFor("alice", "console", uid=1234))):
        with pytest.raises(Forbidden, match="uid 1234 may not approve what its own programs"):
            desk.check_own(peer, question_of(1234), person)
    desk = ControlContext(Daemon(policies(top=OWN), None), None)
    desk.check_own(ALICE, question_of(1234), None)


def test_on_behalf_of(live, store):
    """The record has whom the front end names."""

    async def work(ground):
        person = {"name": "al\u202eice", "face": "console", "place": "127.0.0.1"}
        async with ground.client() as client:
            question = await asked(ground, client)
            await client.ask("approve", id=question["id"], on_behalf_of=person, reason="ok")
            (past,) = await client.ask("history")
            assert (past["by"], past["face"], past["place"]) == (
                r"al\u202eice",
                "console",
                "127.0.0.1",
            )
            assert (past["state"], past["reason"], past["scope"]) == ("granted", "ok", "once")
            assert await client.ask("history", by="bob*") == []
            assert len(await client.ask("history", by="al*", operation="*", state="granted")) == 1
            again = await asked(ground, client)
            assert [one["id"] for one in again["history"]] == [question["id"]]

    live(work, children=("web",), rules=ASKS, top=OWN, store=store)


def test_a_path_that_came_by_a_reload(live, tmp_path):
    """Nothing is kept there before a restart, and that is said."""

    async def work(ground):
        async with ground.client() as client:
            assert (await client.ask("history")).startswith("nothing is kept: ")

    live(work, top=f'[approvals]\npath = "{tmp_path}/approvals.db"')


ASK_TOOL = """
from notifyd import *

@on(Raw("uname"))
def name(call):
    return Ask("may it?", key="name", remember=("process", "minutes", "always"))
"""


def test_grants(live, store, tmp_path):
    """What is granted for good is listed, holds without a question, and can be revoked."""

    async def work(ground):
        web = ground.daemon.workloads["web"]
        async with ground.client() as client:
            question = await asked(ground, client)
            await client.ask("approve", id=question["id"], scope="always")
            (grant,) = await client.ask("grants")
            assert (grant["granted"], grant["question"]) == (True, question["id"])
            assert (grant["by"], grant["until"]) == (pwd.getpwuid(os.geteuid()).pw_name, None)
            ground.call("web", b"n")
            await ground.counted(web, 2)
            assert (await client.ask("revoke", id=grant["id"]))["id"] == grant["id"]
            assert await client.ask("grants") == []
            missing = await client.ask("revoke", id=grant["id"])
            assert missing == f"no grant {grant['id']} holds: see `notifyd ctl grants`"
            assert await asked(ground, client)

    live(work, children=("web",), rules=ASK_TOOL, top=OWN, store=store)


def test_own_calls(live, capsys):
    """Whoever runs the program cannot approve, and the log has who tried; they can deny."""
    refused = os.geteuid() != 0

    async def work(ground):
        web = ground.daemon.workloads["web"]
        async with ground.client() as client:
            question = await asked(ground, client)
            said = await client.ask("approve", id=question["id"])
            if refused:
                assert "may not approve what its own programs ask for" in said
                await client.ask("deny", id=question["id"])
            await ground.counted(web, 1)
            assert results(web) == ["EACCES" if refused else "continued"]

    live(work, children=("web",), rules=ASKS)
    assert ("no approve for" in capsys.readouterr().err) == refused


@pytest.mark.root
def test_strangers(live, capsys):
    """A user who may only read sees the question, and cannot answer; the log names them."""

    async def work(ground):
        ground.call("web", b"n")
        await ground.until(lambda: ground.daemon.queue.pending)
        (question,) = (await ground.as_nobody("pending"))["result"]
        for command in ("approve", "deny", "revoke"):
            told = await ground.as_nobody(command, id=question["id"])
            assert "may not" in told["error"]
        assert ground.daemon.queue.pending

    live(work, children=("web",), rules=ASKS, users="any")
    err = capsys.readouterr().err
    for command in ("approve", "deny", "revoke"):
        (line,) = [line for line in err.splitlines() if f"no {command} for" in line]
        assert f"uid {NOBODY})" in line


SERVED = """
[approvals]
users = [65534]
[sockets.native]
path = "{here}/native.sock"
mode = "0666"
users = "any"
[sockets.control]
path = "{here}/control.sock"
mode = "0666"
[[workload]]
name = "tools"
rules = ["RULES"]
"""


@pytest.mark.root
def test_an_approver_and_their_own_program(serve, tmp_path):
    """They may answer for others and refuse themselves, not more; the log has who tried."""
    (tmp_path / "asks.py").write_text(ASKS)
    service = serve(SERVED.replace("RULES", str(tmp_path / "asks.py")))

    def notifyd(*words: str, user: int) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "notifyd", *words],
            user=user,
            group=user,
            extra_groups=[],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFYD_CONTROL": service.path("control")},
        )

    def ctl(*words: str, user: int = NOBODY) -> tuple[str, str]:
        return notifyd("ctl", *words, user=user).communicate(timeout=30)

    def ask(user: int) -> tuple[subprocess.Popen, str]:
        program = notifyd("run", f"--service={service.path('native')}", "--", "uname", user=user)
        known = len(service.events("approval.asked"))
        while len(found := service.events("approval.asked")) == known:
            time.sleep(0.02)
        return program, str(found[-1]["approval"])

    own, number = ask(NOBODY)
    assert f"uid {NOBODY} may not approve what its own programs" in ctl("approve", number)[1]
    forbidden = service.wait_for("approval.forbidden", command="approve")
    assert forbidden["approval"] == int(number)
    assert forbidden["peer"].endswith(f"uid {NOBODY})")
    assert "may not use this socket" in ctl("approve", number, user=1)[1]
    assert service.wait_for("arrival.refused", arrival="control")
    assert ctl("deny", number)[0].startswith(f"denied question {number}")
    assert own.communicate(timeout=30)[0] == ""
    other, number = ask(1)
    assert ctl("approve", number)[0].startswith(f"approved question {number}")
    assert other.communicate(timeout=30)[0] == "Linux\n"
    assert "may only read" in ctl("reload")[1]
