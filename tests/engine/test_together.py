"""Several rule files on the real kernel: who is asked, what a person hears, what is done."""

import errno
import json
import os

import pytest
import trio

from notifyd.approvals.question import Answer, Person, Scope

ADMIN = Person("root", 0, "ctl")
ASKS = "@on(Uname)\ndef ask(call):\n    return Ask('{}')\n"
SAYS = "@on(Uname)\ndef says(call):\n    return {}\n"


def name():
    """Ask for the machine's name; the errno of it."""
    try:
        os.uname()
    except OSError as error:
        return error.errno
    return 0


def answering(*answers):
    """A person who gives these answers in turn, and what they were asked."""
    heard = []

    async def person(desk, child):
        for answer in answers:
            while not desk.pending:
                await trio.sleep(0.002)
            heard.append(desk.pending[0].text)
            await desk.answer(desk.pending[0].id, Answer(answer, ADMIN, Scope.ONCE))

    person.heard = heard
    return person


@pytest.mark.parametrize(
    ("answers", "status"),
    [((True, True), 0), ((True, False), errno.EPERM), ((False,), errno.EPERM)],
)
def test_each_file_has_its_question(asking, answers, status):
    """One after the other, in their order; the first no ends it."""
    person = answering(*answers)
    files = (ASKS.format("one?"), SAYS.format("None"), ASKS.format("two?"))
    assert asking(name, files, person) == status
    assert person.heard == ["one?", "two?"][: len(answers)]


@pytest.mark.parametrize("order", [1, -1])
def test_nobody_is_asked_for_what_another_file_refuses(asking, told, order):
    """Whichever stands first."""
    files = (ASKS.format("may it?"), SAYS.format("Deny(errno.ENOENT)"))[::order]
    assert asking(name, files, answering()) == errno.ENOENT
    assert told == []


def test_a_person_hears_what_another_file_makes_of_the_call(asking, tmp_path):
    """Who asks knows nothing of it; whoever agrees has to."""
    (tmp_path / "other").write_text("x")
    asks = "@on(Open)\ndef ask(call):\n    if call.path.name == 'secret': return Ask('may it?')\n"
    leads = (
        "@on(Open)\ndef lead(call):\n"
        "    if call.path.name == 'secret':\n"
        f"        return Allow(path='{tmp_path}/other', grant='devices')\n"
    )

    def work():
        return 0 if open("/nowhere/secret").read() == "x" else 1

    for files, said in (
        ((asks, leads), f"may it? [with path={tmp_path}/other, grant=devices]"),
        ((asks, "@on(Open)\ndef none(call): ...\n"), "may it?"),
    ):
        person = answering(said != "may it?")
        asking(work, files, person)
        assert person.heard == [said]


def test_the_same_question_of_two_files_is_put_once(asking):
    """What was answered for this call is not asked about again."""
    person = answering(True)
    assert asking(name, (ASKS.format("may it?"), ASKS.format("may it?")), person) == 0


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_one_file_leads_elsewhere_is_opened_there_if_the_next_agrees(
    start, supervise, reporter, tmp_path, kind
):
    """The event tells what the program asked for; what is opened is the place that was judged."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "f").write_text("box")
    (tmp_path / "f").write_text("outside")
    (tmp_path / "box" / "out").symlink_to(tmp_path / "f")
    lead = f"""
    from pathlib import PurePosixPath
    @on(Open)
    {kind} lead(call):
        return Allow(path=PurePosixPath("{tmp_path}/box") / call.path.name)
    """
    judge = f"""
    @on(Open)
    {kind} judge(call):
        return None if call.path.is_relative_to("{tmp_path}/box") else Deny(errno.EXDEV)
    """

    def work():
        with open("/somewhere/f") as file:
            found = file.read()
        try:
            open("/somewhere/out").close()
        except OSError as error:
            return error.errno if found == "box" else 99
        return 98

    child, workload, _ = start(work, (lead, judge))

    async def live(_):
        assert await child.status() == errno.EXDEV
        await workload.ended.wait()

    supervise(live, workload)
    reporter.flush()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    calls = [one for one in map(json.loads, lines) if one["event"] == "call"]
    asked = [one["args"]["pathname"] for one in calls if "somewhere" in one["args"]["pathname"]]
    assert asked == ["/somewhere/f", "/somewhere/out"]


def test_a_later_file_refuses_what_the_kernel_would_allow_for_the_first(start, supervise):
    """`always(Allow())` is one file's word."""
    files = ("always(Allow(), Uname)\n", SAYS.format("Deny(errno.EACCES)"))
    child, workload, _ = start(name, files)

    async def live(_):
        assert await child.status() == errno.EACCES

    supervise(live, workload)


def test_a_fault_of_ours_is_not_the_rule_s(start, supervise, reporter, tmp_path, monkeypatch):
    """The call is refused, the event says by whom, and no rule has failed."""
    child, workload, _ = start(name, SAYS.format("Deny(errno.EXDEV)"))

    def breaks(*_):
        raise KeyError("ours")

    monkeypatch.setattr(workload, "answer_plainly", breaks)

    async def live(_):
        assert await child.status() == errno.EPERM
        await workload.ended.wait()

    supervise(live, workload)
    reporter.flush()
    lines = [json.loads(one) for one in (tmp_path / "events.jsonl").read_text().splitlines()]
    (call,) = [one for one in lines if one["event"] == "call"]
    assert (call["errno"], call["cause"], call.get("rule")) == ("EPERM", "fault", None)
    (fault,) = [one for one in lines if one["event"] == "supervisor.error"]
    assert "ours" in fault["traceback"]
    assert reporter.counters.errors == 0
