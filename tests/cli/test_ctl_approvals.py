"""`notifyd ctl` about questions: tables, JSON, answers, and asking at a real terminal."""

import fcntl
import json
import os
import pty
import signal
import sys
import termios

import pytest
import trio
from living import ctl, results

from notifyd.approvals.store import Store
from notifyd.cli.approval_tables import grants_table
from notifyd.daemon.approval_messages import GrantView
from notifyd.errors import UsageError

HOSTILE = "a\x1b]0;x\x07\u202eb<script>alert(1)</script>"
ASKS = f'''
"""Names are asked for.\x1b[1m"""
import errno
from notifyd import Ask, Deny, Raw, on

@on(Raw("uname"))
def name(call):
    return Ask({HOSTILE!r}, otherwise=Deny(errno.EACCES), remember={{remember}})
'''
ALL = ("process", "workload", "minutes", "always")
OWN = "[approvals]\nself-approval = true\n"


def asks(*remember: str) -> str:
    """Rules that ask, with what may be remembered."""
    return ASKS.replace("{remember}", repr(remember))


@pytest.fixture
def store(tmp_path):
    """An empty database."""
    with Store(tmp_path / "approvals.db") as found:
        yield found


async def ask_one(ground, name: str = "web") -> int:
    """Have a workload ask; the question's id."""
    known = len(ground.daemon.queue.pending)
    ground.call(name, b"n")
    await ground.until(lambda: len(ground.daemon.queue.pending) > known)
    return ground.daemon.queue.pending[-1].id


def test_answers(live, store, tmp_path):
    """They are listed, answered, remembered, revoked and looked up; all of it harmless."""
    harmless = r"a\x1b]0;x\x07\u202eb<script>"

    async def work(ground):
        web, path = ground.daemon.workloads["web"], ground.path
        assert (await ctl(path, "pending")).out == "no questions\n"
        number = str(await ask_one(ground))
        table = (await ctl(path, "pending")).out
        assert harmless in table
        assert all(line.isprintable() for line in table.splitlines())
        raw = (await ctl(path, "pending", "--json")).out
        assert raw.isascii()
        assert json.loads(raw)[0]["title"] == r"Names are asked for.\x1b[1m"
        done = await ctl(path, "deny", number, "--reason", "no\x1b[31m")
        assert done.out.startswith(f"denied question {number} of web: {harmless}")
        late = await ctl(path, "approve", number)
        assert late.status == 2
        assert f"question {number} is answered already: refused by " in late.err
        number = str(await ask_one(ground))
        assert (await ctl(path, "approve", number, "--minutes", "5", "--json")).status == 0
        grants = (await ctl(path, "grants")).out
        assert "granted" in grants
        assert "in 4m" in grants or "in 5m" in grants
        (grant,) = json.loads((await ctl(path, "grants", "--json")).out)
        assert (await ctl(path, "revoke", str(grant["id"]))).out.startswith("revoked grant ")
        assert (await ctl(path, "grants")).out == "no grants\n"
        assert results(web) == ["continued", "EACCES"] or results(web) == ["EACCES", "continued"]
        head, granted, refused = (await ctl(path, "history")).out.splitlines()
        assert head.split()[:3] == ["id", "ended", "workload"]
        assert "granted" in granted
        assert r"no\x1b[31m" in refused
        (only,) = json.loads((await ctl(path, "history", "--state", "ref*", "--json")).out)
        assert only["state"] == "refused"
        assert (await ctl(path, "history", "--by", "no-such-user")).out == "no questions\n"

    top = f'[approvals]\nself-approval = true\npath = "{tmp_path}/approvals.db"'
    live(work, children=("web",), rules=asks(*ALL), top=top, store=store)


def test_grants_are_told_apart():
    """By the end of the key, too: that may be the port."""
    fields = {"granted": True, "rule": "r.py:ask", "uid": 0, "exe": "/usr/bin/python3.11"}
    fields |= {"by": "root", "face": "ctl", "place": "", "reason": "", "question": 1, "made": 1.0}
    keys = [f"python3.11 wants to connect to 127.0.0.1:{port}" for port in (1001, 1002)]
    grants = [GrantView(id=1, key=key, until=None, **fields) for key in keys]
    _, *lines = grants_table(grants)
    assert all(line.endswith(key) for line, key in zip(lines, keys, strict=True))


def test_mistakes(live):
    """Each is one line that says what to do."""

    async def work(ground):
        number = str(await ask_one(ground))
        cases = {
            ("approve", "99"): "no question 99 waits: see `notifyd ctl pending`",
            ("approve", number, "--scope", "always"): "cannot be answered for always: once",
            ("approve", number, "--scope", "minutes"): "needs to know how many: give --minutes N",
            ("deny", number, "--scope", "once", "--minutes", "3"): "leave one out",
            ("deny", number, "--reason", "x" * 1001): "at most 1000",
            ("revoke", "7"): "no grant 7 holds: see `notifyd ctl grants`",
            ("history",): "nothing is kept: have approvals.path",
            ("watch",): "watch asks at a terminal: use `notifyd ctl pending`",
        }
        for words, text in cases.items():
            done = await ctl(ground.path, *words)
            assert (done.out, done.status) == ("", 2)
            assert text in done.err
            assert done.err.count("\n") == 1
        ground.daemon.workloads["web"].kill()
        await ground.until(lambda: not ground.daemon.queue.pending)
        gone = await ctl(ground.path, "approve", number)
        assert f"question {number} waits no more, it is withdrawn: whoever asked" in gone.err

    live(work, children=("web",), rules=asks("process"), top=OWN)


class Terminal:
    """`notifyd ctl watch`, or another command of ours, on a terminal of its own."""

    def __init__(self, path, *words: str, command=("ctl", "watch"), **more: str) -> None:
        self.said = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ.update(NOTIFYD_CONTROL=str(path), NO_COLOR="1", TERM="dumb", **more)
            os.execv(sys.executable, [sys.executable, "-m", "notifyd", *command, *words])
        os.set_blocking(self.fd, False)

    async def reads(self, text: str) -> str:
        """Wait until it has said something; all that it has said up to there is consumed."""
        wanted = text.encode()
        while wanted not in self.said:
            await trio.lowlevel.wait_readable(self.fd)
            try:
                self.said += os.read(self.fd, 1 << 16)
            except OSError as error:  # EIO: it has left
                raise AssertionError(self.said) from error
        before, _, self.said = self.said.partition(wanted)
        return before.decode() + text

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    async def takes_all(self) -> None:
        """Wait until no key that was pressed is left in the terminal."""
        other = os.open(f"/proc/{self.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
        try:
            with trio.fail_after(20):
                while any(fcntl.ioctl(other, termios.FIONREAD, bytes(4))):
                    await trio.sleep(0.01)
        finally:
            os.close(other)

    async def ends(self) -> int:
        """Wait until it has ended; its status."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            await trio.sleep(0.01)

    def modes(self) -> list:
        """The terminal's local modes and control characters."""
        return termios.tcgetattr(self.fd)[3]


def test_watch(live):
    """It asks one by one, with all there is to know; lines answer; the terminal is as before."""

    async def work(ground):
        web = ground.daemon.workloads["web"]
        terminal = Terminal(ground.path)
        before = terminal.modes()
        await terminal.reads("waiting for questions; q quits")
        terminal.types("y\ry\ry")  # before there is a question: no answer to it
        await terminal.takes_all()
        ground.call("web", b"nn")
        shown = await terminal.reads("? for help] ")
        assert "question 1 of web, 0s ago" in shown
        assert r"a\x1b]0;x\x07\u202eb<script>" in shown
        assert r"r.py:name: Names are asked for.\x1b[1m" in shown
        assert "pytest" in shown  # our own command line is in the tree
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "allow it? [y/n/process/run/skip/quit, ? for help] " in shown
        for wrong, told in {
            "always": "this question cannot be answered for always",
            "\x1b[a": r"`\x1b[a` is no answer",  # an arrow
            "?": "as long as this process lives",
        }.items():
            terminal.types(f"{wrong}\r")
            await terminal.reads(told)
            await terminal.reads("? for help] ")
        terminal.types("n: not today\r")
        await terminal.reads("denied question 1 of web")
        await terminal.reads("question 2 of web")
        with pytest.raises(UsageError, match=r"refused by .*: not today"):
            ground.daemon.queue.find(1)
        await terminal.reads("? for help] ")
        terminal.types("p\r")
        await terminal.reads("approved (process) question 2 of web")
        await ground.counted(web, 2)
        assert sorted(results(web)) == ["EACCES", "continued"]
        terminal.types("q\r")
        await ground.until(lambda: terminal.modes() == before)
        assert await terminal.ends() == 0

    live(work, children=("web",), rules=asks("process", "workload"), top=OWN)


CALLS = """
import os
for _ in range(5):
    try:
        os.uname(), print("continued", flush=True)
    except OSError:
        print("EACCES", flush=True)
"""


@pytest.mark.usefixtures("whole")  # at a terminal
@pytest.mark.parametrize("front", ["run", "watch"])
def test_the_same_lines_at_both_terminals(live, tmp_path, front):
    """What is typed at a question of `notifyd run` and of `notifyd ctl watch` means the same."""
    rules = tmp_path / "asks.py"
    rules.write_text(asks("process", "workload"))

    async def work(ground):
        if front == "run":
            words = ("--rules", str(rules), "--", sys.executable, "-c", CALLS)
            terminal = Terminal(
                ground.path, *words, command=("run",), XDG_STATE_HOME=str(tmp_path / "state")
            )
        else:
            ground.call("web", b"nnnnn")
            terminal = Terminal(ground.path)
        await terminal.reads("allow it? [y/n/process/run")
        terminal.types("y\ry\r")  # the second one is for no question that was shown
        said = ""
        for line in ("n: not today", "perhaps", "10m", "Y", "no process"):
            said += await terminal.reads("allow it? [y/n/process/run")
            await terminal.reads("? for help] ")
            terminal.types(f"{line}\r")
        assert "`perhaps` is no answer" in said
        assert "this question cannot be answered for minutes" in said
        if front == "run":
            said += await terminal.reads("EACCES\r\nEACCES\r\n")
            assert (said.count("continued\r\n"), said.count("EACCES\r\n")) == (2, 3)
        else:
            web = ground.daemon.workloads["web"]
            await ground.counted(web, 5)
            assert sorted(results(web)) == ["EACCES"] * 3 + ["continued"] * 2
            terminal.types("\x04")
        assert await terminal.ends() == 0

    live(work, children=("web",), rules=asks("process", "workload"), top=OWN)


def test_watch_minutes_and_always(live, store):
    """Some minutes, and for good; nonsense is no answer."""

    async def work(ground):
        terminal = Terminal(ground.path)
        await ask_one(ground, "web")
        await terminal.reads("? for help] ")
        for text in ("0m", "m", "9" * 30 + "m"):
            terminal.types(f"{text}\r")
            await terminal.reads("nothing is answered")
            await terminal.reads("? for help] ")
        terminal.types("10m\r")
        await terminal.reads("approved (minutes) question 1")
        (grant,) = ground.daemon.queue.grants
        assert round(grant.until - grant.made) == 600
        await ground.daemon.queue.revoke(grant.id, "test")
        await ask_one(ground, "web")
        await terminal.reads("? for help] ")
        terminal.types("always\r")
        await terminal.reads("approved (always) question 2")
        os.kill(terminal.pid, signal.SIGTERM)
        assert await terminal.ends() == 128 + signal.SIGTERM

    live(work, children=("web",), rules=asks(*ALL), top=OWN, store=store)


def test_watch_skips_and_what_goes(live):
    """A skipped question is not shown again; one that is withdrawn makes way for the next."""

    async def work(ground):
        terminal = Terminal(ground.path)
        await ask_one(ground, "web")
        await terminal.reads("? for help] ")
        terminal.types("s\r")
        await terminal.reads("waiting for questions")
        await ask_one(ground, "db")
        await terminal.reads("question 2 of db")
        ground.daemon.workloads["db"].kill()
        await terminal.reads("question 2 waits no more")
        await terminal.reads("waiting for questions")
        terminal.types("\x03")  # Ctrl-C
        await terminal.ends()
        assert [one.id for one in ground.daemon.queue.pending] == [1]

    live(work, children=("web", "db"), rules=asks("process"), top=OWN)


def test_watch_as_json(live):
    """Every question once, a line each."""

    async def work(ground):
        terminal = Terminal(ground.path, "--json")
        for name in ("web", "db"):
            await ask_one(ground, name)
            line = await terminal.reads("\r\n")
            assert json.loads(line)["workload"] == name
            assert line.strip().isascii() or line.strip().isprintable()
        os.kill(terminal.pid, signal.SIGKILL)
        await terminal.ends()

    live(work, children=("web", "db"), rules=asks("process"), top=OWN)


def test_completion(live):
    """The questions that wait, by their ids."""

    async def complete(ground, words: str) -> list[str]:
        given = {"_NOTIFYD_COMPLETE": "bash_complete", "COMP_WORDS": words}
        done = await ctl(ground.path, **given, COMP_CWORD=str(len(words.split(" ")) - 1))
        return [line.partition(",")[2] for line in done.out.splitlines() if line]

    async def work(ground):
        assert await complete(ground, "notifyd ctl approve ") == []
        number = await ask_one(ground)
        assert await complete(ground, "notifyd ctl approve ") == [str(number)]
        await ctl(ground.path, "approve", str(number), "--scope", "always")
        (grant,) = ground.daemon.queue.grants
        assert await complete(ground, "notifyd ctl revoke ") == [str(grant.id)]

    live(work, children=("web",), rules=asks(*ALL), top=OWN)
