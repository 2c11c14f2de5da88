"""Rules that ask: the call waits for a person, on the kernel, and goes on as they said."""

import ctypes
import errno
import json
import os
import signal
import threading
import time

import pytest
import trio

from notifyd.approvals import queue as desks
from notifyd.approvals.question import Answer, Person, Scope
from notifyd.approvals.queue import ApprovalQueue
from notifyd.errors import TargetGone
from notifyd.kernel import seccomp
from notifyd.target.digests import Digests

KILLABLE = seccomp.FILTER_FLAG_NEW_LISTENER | seccomp.FILTER_FLAG_WAIT_KILLABLE_RECV

ADMIN = Person("root", 0, "ctl")
RULE = """
@on(Uname)
def ask(call):
    return Ask("may it know the name?"{more})
"""
ASK_OPEN = """
@on(Open)
def ask(call):
    if call.path.name != "secret":
        return Allow()
    return Ask(f"open {call.path}?")
"""


@pytest.fixture
def read_events(reporter, tmp_path):
    """The events that were written."""

    def read():
        reporter.flush()
        return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]

    return read


def _uname() -> int:
    try:
        os.uname()
    except OSError as error:
        return error.errno or 0
    return 0


async def _question(desk):
    while not desk.pending:
        await trio.sleep(0.005)
    return desk.pending[0]


def _says(granted, scope=Scope.ONCE):
    async def person(desk, child):
        question = await _question(desk)
        await desk.answer(question.id, Answer(granted, ADMIN, scope))

    return person


@pytest.mark.parametrize(("granted", "status"), [(True, 0), (False, errno.EPERM)])
def test_yes_and_no(asking, read_events, granted, status):
    """The answer is what the call gets, and the event has who said it; waiting is told apart."""

    async def slowly(desk, child):
        await _question(desk)
        await trio.sleep(0.3)
        await _says(granted)(desk, child)

    begun = time.monotonic()
    assert asking(_uname, RULE.format(more=""), slowly) == status
    whole = time.monotonic() - begun
    (call,) = [one for one in read_events() if one["event"] == "call"]
    assert (call["verdict"], call["approval"]) == ("ask", 1)
    assert call["reason"] == f"{'granted' if granted else 'refused'} by root by ctl"
    assert call["waited_s"] > 0.25
    assert call["waited_s"] + call["took_us"] / 1e6 < whole


def test_the_question(asking):
    """It says who asks, what for, and what the person may choose."""
    seen = []

    async def person(desk, child):
        seen.append(await _question(desk))
        seen.append(child.pid)
        await desk.answer(1, Answer(True, ADMIN))

    assert asking(_uname, RULE.format(more=""), person) == 0
    question, pid = seen
    assert (question.pid, question.text, question.operation) == (
        pid,
        "may it know the name?",
        "Uname",
    )
    assert question.process.startswith(f"{pid}@")
    assert question.subject.exe == os.path.realpath("/proc/self/exe")
    assert len(question.subject.digest) == 64
    assert question.scopes == tuple(Scope)


def test_otherwise(asking):
    """What the rule says for anything but yes."""
    text = RULE.format(more=", otherwise=Deny(errno.ENOSYS)")
    assert asking(_uname, text, _says(False)) == errno.ENOSYS


def test_in_time(asking, read_events):
    """No answer within the seconds given is told apart from a refusal."""

    async def nobody(desk, child):
        await _question(desk)

    assert asking(_uname, RULE.format(more=", within=0.1"), nobody) == errno.EPERM
    (call,) = [one for one in read_events() if one["event"] == "call"]
    assert call["reason"] == "question expired: no answer"


def test_nobody_to_ask(asking, read_events):
    """It is refused at once, and the event says why."""

    async def nobody(desk, child):
        return

    assert asking(_uname, RULE.format(more=""), nobody, attended=0) == errno.EPERM
    (call,) = [one for one in read_events() if one["event"] == "call"]
    assert call["reason"] == "question unasked: there is nobody to ask"


def test_remembered_for_the_process(asking, told):
    """The second call of the process is not asked."""

    def twice():
        return _uname() or _uname()

    assert asking(twice, RULE.format(more=""), _says(True, Scope.PROCESS)) == 0
    assert [name for name, _ in told].count("approval.asked") == 1


def test_what_was_seen_is_what_happens(asking, tmp_path):
    """While the person thinks the file is exchanged: the rule is asked again, the person not."""
    (tmp_path / "secret").write_text("one")
    (tmp_path / "other").write_text("two")

    def read() -> int:
        with open(tmp_path / "secret") as file:
            return 0 if file.read() == "two" else 1

    async def person(desk, child):
        question = await _question(desk)
        assert str(tmp_path / "secret") in question.text
        (tmp_path / "secret").unlink()
        (tmp_path / "other").rename(tmp_path / "secret")
        await desk.answer(question.id, Answer(True, ADMIN))

    assert asking(read, ASK_OPEN, person) == 0


def test_killed_while_it_is_asked(asking, told):
    """The question is withdrawn."""

    async def person(desk, child):
        await _question(desk)
        os.kill(child.pid, signal.SIGKILL)
        while desk.pending:
            await trio.sleep(0.02)

    assert asking(_uname, RULE.format(more=""), person) == -signal.SIGKILL
    assert told[-1][1]["state"] == "withdrawn"


def test_killed_while_its_program_is_hashed(asking, monkeypatch):
    """The thread left behind has no other file at its descriptor's number, and soon ends."""
    program = os.stat("/proc/self/exe")
    begun, go, threads, seen = threading.Event(), threading.Event(), [], []

    def compute(_digests, descriptor, *, held, go_on):
        threads.append(threading.current_thread())
        begun.set()
        go.wait(20)
        seen.append(os.path.samestat(os.fstat(descriptor), program))
        with pytest.raises(TargetGone):
            go_on()
        seen.append("goes")
        return ""

    monkeypatch.setattr(Digests, "compute", compute)

    async def person(desk, child):
        while not begun.is_set():
            await trio.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        while desk.workload.waiting:
            await trio.sleep(0.01)

    assert asking(_uname, RULE.format(more=""), person) == -signal.SIGKILL
    go.set()
    threads[0].join(20)
    assert seen == [True, "goes"]


def test_stopped_while_it_is_asked(asking, told):
    """The question is kept."""

    async def person(desk, child):
        question = await _question(desk)
        os.kill(child.pid, signal.SIGSTOP)
        await trio.sleep(0.3)
        os.kill(child.pid, signal.SIGCONT)
        await trio.sleep(0.1)
        await desk.answer(question.id, Answer(True, ADMIN))

    assert asking(_uname, RULE.format(more=""), person) == 0
    assert [name for name, _ in told] == ["approval.asked", "approval.answered"]


@pytest.mark.parametrize("flags", [KILLABLE, seccomp.FILTER_FLAG_NEW_LISTENER])
def test_signalled_while_it_is_asked(asking, told, flags, monkeypatch):
    """A handler runs: once it is answered, or at once, and the call that comes again joins it."""
    # seconds; until it joins its program is hashed
    monkeypatch.setattr(desks, "QUESTION_LINGER_S", 20.0)

    def with_handler() -> int:
        caught = []
        signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
        signal.siginterrupt(signal.SIGUSR1, False)
        status = _uname()
        while not caught:
            time.sleep(0.01)
        return status

    async def person(desk, child):
        question = await _question(desk)
        before = set(desk.workload.waiting)
        os.kill(child.pid, signal.SIGUSR1)
        (waits,) = desk._open.values()
        while flags != KILLABLE and (before & set(desk.workload.waiting) or not waits.waiters):
            await trio.sleep(0.01)
        await desk.answer(question.id, Answer(True, ADMIN))

    assert asking(with_handler, RULE.format(more=""), person, flags=flags) == 0
    assert [name for name, _ in told] == ["approval.asked", "approval.answered"]


def test_many_threads_ask_once(asking, told):
    """The same question of several threads is answered for all of them."""

    def threads() -> int:
        got = []
        libc = ctypes.CDLL(None)  # os.uname would keep Python's lock, and the others from asking
        buffers = [ctypes.create_string_buffer(400) for _ in range(8)]
        running = [
            threading.Thread(target=lambda one=one: got.append(-libc.uname(one))) for one in buffers
        ]
        for one in running:
            one.start()
        for one in running:
            one.join()
        return max(got)

    async def person(desk, child):
        question = await _question(desk)
        # A call waits before it has joined: its program is hashed first.
        (waits,) = desk._open.values()
        while waits.waiters < 8:
            await trio.sleep(0.01)
        await desk.answer(question.id, Answer(True, ADMIN))

    assert asking(threads, RULE.format(more=""), person) == 0
    assert [name for name, _ in told].count("approval.asked") == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", within=-1", "within=-1 seconds are none to wait"),
        (", otherwise=Allow()", "would let a call through unanswered"),
        (", otherwise=Continue()", "would let a call through unanswered"),
        (", remember=('ever',)", "remember has ['ever']"),
        (", key=7", "the question and its key are text"),
    ],
)
def test_nonsense(asking, read_events, more, said):
    """A question that makes no sense is refused, with the reason for the rule's author."""

    async def nobody(desk, child):
        return

    assert asking(_uname, RULE.format(more=more), nobody) == errno.EPERM
    (call,) = [one for one in read_events() if one["event"] == "call"]
    assert said in call["reason"]


def test_hostile_text(asking):
    """What comes from the target is made harmless before anybody sees it."""
    text = """
@on(Uname)
def ask(call):
    return Ask("\\x1b[2J\\u202egnp.exe <script>" + "x" * 100_000, key="k")
"""
    seen = []

    async def person(desk, child):
        seen.append(await _question(desk))
        await desk.answer(1, Answer(True, ADMIN))

    assert asking(_uname, text, person) == 0
    assert "\x1b" not in seen[0].text
    assert "\u202e" not in seen[0].text
    assert len(seen[0].text) < 3000


def test_the_supervisor_ends_while_it_is_asked(start, supervise, told):
    """The call is refused, as any that waits."""
    child, workload, _ = start(_uname, RULE.format(more=""))
    desk = ApprovalQueue(lambda name, level, **fields: told.append((name, fields)))
    desk.attended = 1
    workload.queue = desk

    async def live(supervisor):
        await _question(desk)

    supervise(live, workload)
    _, status = os.waitpid(child.pid, 0)
    child.pid = 0
    assert os.waitstatus_to_exitcode(status) == errno.EPERM
