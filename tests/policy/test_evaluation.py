"""Rule files add up: what several of them come to together, whoever asks them."""

import errno
from pathlib import PurePosixPath

import pytest

from notifyd import (
    Allow,
    Ask,
    Bind,
    Connect,
    Continue,
    Deny,
    Kill,
    Open,
    Rename,
    Return,
    RuleSet,
    Supply,
    always,
    on,
)
from notifyd.engine.decide import ResumableEvaluation
from notifyd.policy.call import ARCH, NR
from notifyd.policy.load import load, shipped
from notifyd.policy.rule import DECLARED
from notifyd.testing import load_rules, make_call, verdict_of

NO, OTHER = Deny(errno.EPERM), Deny(errno.EACCES)
PASSING = (None, Allow(), Continue(), Allow(grant="devices"), Allow(path="/changed"))
ENDING = (NO, Kill(), Return(7), Supply(b"text"))


@pytest.fixture
def file_of():
    """Make the declarations of one rule file: `file_of(verdict or function or declare, ...)`."""

    def make(*said, operation=Open):
        globals()[DECLARED] = []
        for one in said:
            if callable(one):
                on(operation)(_named(one))
            else:
                on(operation)(lambda call, verdict=one: verdict)
        return globals().pop(DECLARED)

    return make


def _named(function):
    """A function of this module's namespace, as a rule file's is of its own."""
    return lambda call: function(call)


def decided(files, call=None, **more):
    """The decision for a call, asked by the engine's own code."""
    rules = RuleSet.build(*files, **more)
    call = call or make_call(Open, path="/asked")
    steps = rules.plans.get((call.note[ARCH], call.note[NR]), ())
    return ResumableEvaluation(call.note, steps, rules, call.origin).ask()


@pytest.mark.parametrize("first", PASSING)
@pytest.mark.parametrize("second", ENDING)
def test_what_is_not_refused_here_may_be_refused_by_the_next_file(file_of, first, second):
    """An opinion of one file switches no other file off."""
    assert decided([file_of(first), file_of(second)]).verdict == second


@pytest.mark.parametrize("first", ENDING)
@pytest.mark.parametrize("second", [*PASSING, OTHER])
def test_a_refusal_or_a_result_ends_it(file_of, first, second):
    """The next file is not asked at all."""
    asked = []
    later = file_of(lambda call: asked.append(call) or second)
    assert decided([file_of(first), later]).verdict == first
    assert asked == []


def test_within_a_file_the_first_verdict_wins(file_of):
    """As it always was: an exception stands before the rule that it is from."""
    assert decided([file_of(Allow(), NO)]).verdict == Allow()
    assert decided([file_of(None, NO)]).verdict == NO
    assert decided([file_of(Allow(), NO), file_of(None, OTHER)]).verdict == OTHER


def test_final_ends_the_asking(file_of):
    """An exception before a strict base, on purpose; behind the base it comes too late."""
    assert decided([file_of(Allow(final=True)), file_of(NO)]).verdict == Allow()
    assert decided([file_of(NO), file_of(Allow(final=True))]).verdict == NO


def test_otherwise_speaks_where_nobody_has_an_opinion(file_of):
    """None of any file is one."""
    assert decided([file_of(None), file_of(None)], otherwise=NO).verdict == NO
    assert decided([file_of(None), file_of(Allow())], otherwise=NO).verdict == Allow()
    assert decided([file_of(Continue()), file_of(None)], otherwise=NO).verdict == Continue()


def test_letting_the_kernel_go_on_never_outweighs_a_judgement(file_of):
    """What one file looked at and allowed is performed, whatever an observer says."""

    def judge(call):
        assert call.path == PurePosixPath("/asked")
        return Allow()

    watcher = file_of(Continue())
    for files in ([watcher, file_of(judge)], [file_of(judge), watcher]):
        found = decided(files)
        assert (found.verdict, found.looked) == (Allow(), True)


def test_a_later_file_judges_the_changed_call(file_of):
    """Its path, its text and where it starts; and what happens has all changes."""
    seen = []

    def judge(call):
        seen.append((call.path, call.pathname, call.dirfd))
        return None if call.path.is_relative_to("/box") else NO

    lead = file_of(lambda call: Allow(path="/box/file"))
    call = make_call(Open, dirfd=7, pathname=b"file", syscall="openat")
    found = decided([lead, file_of(judge)], call)
    assert seen == [(PurePosixPath("/box/file"), b"/box/file", -100)]
    assert found.verdict == Allow(path="/box/file")
    assert found.call.seen["path"] == PurePosixPath("/box/file")
    out = file_of(lambda call: Allow(path="/etc/passwd"))
    assert decided([out, file_of(judge)], call).verdict == NO


def test_a_changed_path_is_resolved_anew(file_of):
    """A rule may lead to a place that is a link: the next file sees where that leads."""
    call = make_call(Open, path="/asked", links={"/box": "/etc"})
    seen = []
    files = [
        file_of(lambda call: call.path and Allow(path="/box/passwd")),
        file_of(lambda call: seen.append(call.path)),
    ]
    found = decided(files, call)
    assert seen == [PurePosixPath("/etc/passwd")]
    assert found.call.seen["path"] == seen[0]  # what is performed has to have that name


def test_what_is_not_changed_stays_the_copy_that_was_judged(file_of):
    """One path of a rename is led elsewhere; the other one keeps the name that a file saw."""
    call = make_call(Rename, oldpath="/a", newpath="/b")
    files = [
        file_of(lambda call: call.newpath and Allow(oldpath="/c"), operation=Rename),
        file_of(lambda call: None if call.oldpath.name == "c" else NO, operation=Rename),
    ]
    found = decided(files, call)
    assert found.verdict == Allow(oldpath="/c")
    assert found.call.seen["newpath"] == PurePosixPath("/b")


def test_changes_and_grants_add_up(file_of):
    """Of several files; the last change of the same argument counts."""
    files = [
        file_of(Allow(path="/a", grant="devices")),
        file_of(Allow(flags=0, grant=("devices", "mounts"))),
        file_of(Allow(path="/b")),
    ]
    found = decided(files)
    assert found.verdict == Allow(path="/b", flags=0, grant=("devices", "mounts"))
    assert (found.call.pathname, found.call.flags) == (b"/b", 0)


def test_a_socket_that_is_led_elsewhere(file_of):
    """Its address is the changed one to whoever is asked next."""
    seen = []
    call = make_call(Connect, address="unix:/run/real.sock", fd=3)
    files = [
        file_of(Allow(path="/box/other.sock"), operation=Connect),
        file_of(lambda call: seen.append((str(call.address), call.path)), operation=Connect),
    ]
    decided(files, call)
    assert seen == [("unix:/box/other.sock", PurePosixPath("/box/other.sock"))]


@pytest.mark.parametrize("change", [{"path": "relative"}, {"flags": "text"}, {"path": "/\0"}])
def test_a_change_that_cannot_be_made_asks_nobody_else(file_of, change):
    """It is refused when it is to be performed, and no file sees half of it."""
    asked = []
    found = decided([file_of(Allow(**change)), file_of(asked.append)])
    assert asked == []
    assert found.verdict == Allow(**change)


def test_the_event_tells_what_the_target_asked_for(file_of):
    """The record is of the program's call, with or without changes."""
    rules = RuleSet.build(file_of(Allow(path="/b")), file_of(lambda call: call.path and None))
    call = make_call(Open, path="/asked")
    evaluation = ResumableEvaluation(
        call.note, rules.plans[call.note[ARCH], call.note[NR]], rules, call.origin
    )
    found = evaluation.ask()
    assert found.call.pathname == b"/b"
    assert evaluation.as_made(found.call).pathname == b"/asked"


# -- questions


def test_a_question_is_put_only_if_no_later_file_refuses(file_of):
    """Nobody is asked for what is refused anyway."""
    assert decided([file_of(Ask("may it?")), file_of(NO)]).verdict == NO
    assert decided([file_of(Ask("may it?")), file_of(Allow())]).verdict == Ask("may it?")


def test_questions_come_one_after_the_other_and_then_the_call(file_of):
    """Each file's own; the last yes is followed by the call with all changes."""
    files = [file_of(Ask("one")), file_of(Allow(path="/b")), file_of(Ask("two"))]
    found = decided(files)
    assert (found.verdict, found.then.verdict) == (Ask("one"), Ask("two"))
    assert found.then.then.verdict == Allow(path="/b")
    assert found.last is found.then.then
    assert found.last.call.pathname == b"/b"


@pytest.mark.parametrize("result", [Return(3), Supply(b"x")])
def test_a_result_of_a_later_file_waits_for_the_question(file_of, result):
    """What a person has to agree to is not given away by another file."""
    found = decided([file_of(Ask("may it?")), file_of(result)])
    assert (found.verdict, found.then.verdict) == (Ask("may it?"), result)
    assert decided([file_of(result), file_of(Ask("may it?"))]).verdict == result


def test_final_passes_no_question_over(file_of):
    """It ends the asking of files, not of the person."""
    files = [file_of(Ask("may it?")), file_of(Allow(final=True)), file_of(NO)]
    found = decided(files)
    assert (found.verdict, found.then.verdict) == (Ask("may it?"), Allow())


# -- failing


@pytest.mark.parametrize("order", [0, 1])
def test_a_file_that_fails_refuses_whatever_others_say(file_of, order):
    """And a result of `on_error` that lets it pass leaves the others to be asked."""

    def breaks(call):
        raise ZeroDivisionError

    files = [file_of(breaks), file_of(Allow())]
    found = decided(files[::-1] if order else files)
    assert (found.verdict, found.broken) == (NO, True)

    globals()[DECLARED] = []
    on(Open, on_error=Allow())(_named(breaks))
    careless = globals().pop(DECLARED)
    files = [careless, file_of(OTHER)]
    assert decided(files[::-1] if order else files).verdict == OTHER
    passed = decided([careless, file_of(Allow())])
    assert (passed.verdict, passed.broken) == (Allow(), True)


def test_strict_is_about_what_the_kernel_reads_again(file_of):
    """An observer that looked is refused, unless another file's judgement has it performed."""
    looks = file_of(lambda call: call.path and Continue())
    assert decided([looks], strict=True).verdict == NO
    assert decided([looks, file_of(None)], strict=True).verdict == NO


@pytest.mark.parametrize("verdict", [Deny("EACCES"), Deny(0), Deny(-1), Allow(grant=3), Ask(3)])
def test_nonsense_is_the_rule_s_fault(file_of, verdict):
    """It is told apart from a verdict before anybody acts on it."""
    found = decided([file_of(verdict), file_of(Allow())])
    assert (found.verdict, found.broken) == (NO, True)


def test_a_file_that_never_names_ask_cannot_ask(tmp_path):
    """What must be known beforehand, a terminal of its own, is known by the names in the file."""
    hides = "notifyd.policy.verdicts.__dict__['A' 'sk']('really?')"
    for number, (text, can) in enumerate(
        (
            (f"import notifyd.policy.verdicts\n@on(Open)\ndef r(call): return {hides}\n", False),
            ("@on(Open)\ndef r(call): return Ask('really?')\n", True),
            ("import notifyd as n\n@on(Open)\ndef r(call): return n.Ask('really?')\n", True),
            ("from notifyd import Ask as Q\n@on(Open)\ndef r(call): return Q('really?')\n", True),
            ("WHY = Ask('really?')\n@on(Open)\ndef r(call): return WHY\n", True),
            (
                "def inner():\n    def more(): return Ask('really?')\n    return more()\n"
                "@on(Open)\ndef r(call): return inner()\n",
                True,
            ),
        )
    ):
        file = tmp_path / f"{number}.py"
        file.write_text("from notifyd import *\n" + text)
        rules = load_rules(str(file))
        assert rules.may_ask is can, text
        assert verdict_of(rules, make_call(Open)) == (Ask("really?") if can else NO)


def test_the_rules_that_ship_ask_only_if_they_say_so():
    """All others need no terminal of their own, and no record that is kept from them."""
    asking = {name for name in shipped() if load([name], deciding=False).may_ask}
    assert asking == {"ask-connect", "ask-exec", "ask-write"}


# -- what the kernel decides


def test_an_allowance_of_the_kernel_is_for_its_own_file(file_of):
    """Where the supervisor has to say what the filter would, other files are still asked."""
    globals()[DECLARED] = []
    always(Allow(), Bind)
    allows = globals().pop(DECLARED)
    refuses = file_of(NO, operation=Bind)
    call = make_call(Bind, address="192.0.2.1:5")
    assert decided([allows, refuses], call).verdict == NO
    assert decided([refuses, allows], call).verdict == NO
    globals()[DECLARED] = []
    always(Allow(final=True), Bind)
    final = globals().pop(DECLARED)
    assert decided([final, refuses], call).verdict == Allow()
    assert decided([refuses, final], call).verdict == NO
