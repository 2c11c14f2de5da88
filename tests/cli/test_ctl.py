"""`notifyd ctl`, against a real daemon over its real socket."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import trio
from living import Done, ctl

from notifyd.cli.control_client import default_socket
from notifyd.cli.event_lines import event_line


def test_tables(live):
    """What people read."""

    async def work(ground):
        ground.call("web", b"ppgs")
        await ground.counted(ground.daemon.workloads["web"], 4)
        status = await ctl(ground.path, "status")
        assert (status.err, status.status) == ("", 0)
        rows = {line[:16].strip(): line[16:].strip() for line in status.out.splitlines()}
        assert rows["workloads"] == "2 with 2 listeners"
        assert rows["calls"] == "4, 2 refused, 0 pending"
        assert rows["rule errors"] == "1"
        assert rows["socket control"] == str(ground.path)
        workloads = (await ctl(ground.path, "workloads")).out.splitlines()
        assert workloads[0].split() == [
            "id", "arrival", "section", "pid", "up", "calls", "refused", "pending", "slowest",
            "brought", "by",
        ]  # fmt: skip
        assert workloads[1].split()[:3] == ["web", "native", "all"]
        assert len(workloads) == 3
        rules = (await ctl(ground.path, "rules")).out.splitlines()
        assert rules[0] == "all: 2 workloads"
        assert "  in the kernel  Ptrace" in rules
        metrics = (await ctl(ground.path, "metrics")).out
        assert 'notifyd_pending{workload="web"} 0.0' in metrics.splitlines()

    live(work, children=("web", "db"))


def test_an_id_can_be_copied(live):
    """The whole of it is shown: engines give their containers 64 digits."""
    name = "0123456789abcdef" * 4

    async def work(ground):
        workloads = (await ctl(ground.path, "workloads")).out.splitlines()
        shown = workloads[1].split()[0]
        assert shown == name
        assert await ctl(ground.path, "kill", shown) == Done("killed 1 process\n", "", 0)

    live(work, children=(name,))


def test_json(live):
    """What programs read."""

    async def work(ground):
        path = str(ground.path)
        status = json.loads((await ctl("/", "status", "--json", "--socket", path)).out)
        assert status["workloads"] == 1
        (web,) = json.loads((await ctl(path, "workloads", "--json")).out)
        assert web["id"] == "web"
        (section,) = json.loads((await ctl(path, "rules", "--json")).out)
        assert section["name"] == "all"
        killed = json.loads((await ctl(path, "kill", "web", "--json")).out)
        assert killed == {"processes": 1}

    live(work, children=("web",))


def test_changing(live):
    """Reload, detach and kill say what came of it; a mistake is an error with its lines."""
    notes = [["web keeps its rules"], None]

    async def reload(why):
        from notifyd.errors import UsageError

        found = notes.pop(0)
        if found is None:
            raise UsageError("n.toml:3: wrong\nn.toml:4: wrong, too")
        return found

    async def work(ground):
        path = ground.path
        assert await ctl(path, "reload") == Done("reloaded\nweb keeps its rules\n", "", 0)
        failed = await ctl(path, "reload")
        assert failed == Done("", "notifyd: n.toml:3: wrong\nnotifyd: n.toml:4: wrong, too\n", 2)
        assert await ctl(path, "detach", "web") == Done("detached, 1 listener closed\n", "", 0)
        assert await ctl(path, "kill", "db") == Done("killed 1 process\n", "", 0)
        await ground.until(lambda: not ground.daemon.workloads)
        gone = await ctl(path, "kill", "db")
        assert gone.err == (
            "notifyd: no workload 'db' is supervised: see `notifyd ctl workloads`\n"
        )
        assert gone.status == 2
        assert (await ctl(path, "workloads")).out == "no workloads\n"

    live(work, children=("web", "db"), reload=reload)


@pytest.mark.parametrize("as_json", [False, True])
def test_events(live, as_json):
    """They are shown as they come, those that were asked for, until Ctrl-C."""

    async def work(ground):
        words = ["--verdict", "deny", "--workload", "w*", *(["--json"] if as_json else [])]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "notifyd", "ctl", "events", *words],
            env={**os.environ, "NOTIFYD_CONTROL": str(ground.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await ground.until(lambda: ground.daemon.followers)
        ground.call("db", b"g")
        ground.call("web", b"pg")
        async with process.stdout, process.stderr:
            line = (await process.stdout.receive_some(10_000)).decode()
            if as_json:
                event = json.loads(line)
                assert (event["workload"], event["syscall"]) == ("web", "getpgrp")
            else:
                assert " web  refused getpgrp " in line
                assert "(EACCES) by r.py:group, python" in line
                assert line.endswith("]: no groups here\n")
                assert line.count("\n") == 1
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
        await ground.until(lambda: not ground.daemon.followers)

    live(work, children=("web", "db"))


def test_the_daemon_ends(live):
    """Whoever follows is told."""
    started = []

    async def work(ground):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "notifyd", "ctl", "events", "--socket", str(ground.path)],
                stderr=subprocess.PIPE,
            )
        )
        await ground.until(lambda: ground.daemon.followers)

    live(work)
    (process,) = started
    _, err = process.communicate(timeout=20)
    assert err == b"notifyd: the daemon has ended, or ended this: see its log\n"
    assert process.returncode == 2


def test_hostile_names(live):
    """An id that would turn a terminal around does nothing to it, and can be killed by it."""
    name = "a\x1b]0;x\x07\u202eb"

    async def work(ground):
        table = (await ctl(ground.path, "workloads")).out
        assert r"a\x1b]0;x\x07\u202eb" in table
        assert all(line.isprintable() for line in table.splitlines())
        assert (await ctl(ground.path, "workloads", "--json")).out.isascii()
        assert (await ctl(ground.path, "kill", name + "x")).err.isascii()
        assert (await ctl(ground.path, "kill", name)).status == 0

    live(work, children=(name,))


def test_completion(live):
    """Subcommands, and the ids that the daemon has; none that a shell would stumble on."""

    async def complete(ground, words: str) -> list[str]:
        given = {"_NOTIFYD_COMPLETE": "bash_complete", "COMP_WORDS": words}
        number = str(len(words.split(" ")) - 1)
        done = await ctl(ground.path, **given, COMP_CWORD=number)
        return [line.partition(",")[2] for line in done.out.splitlines() if line]

    async def work(ground):
        commands = await complete(ground, "notifyd ctl ")
        assert commands == [
            "approve", "console", "deny", "detach", "events", "grants", "history", "kill",
            "metrics", "pending", "reload", "revoke", "rotate", "rules", "status", "watch",
            "workloads",
        ]  # fmt: skip
        assert await complete(ground, "notifyd ctl kill ") == ["web-1", "db"]
        assert await complete(ground, "notifyd ctl detach w") == ["web-1"]
        assert await complete(ground, "notifyd ctl events --workload d") == ["db"]
        assert await complete(ground, "notifyd ctl kill --socket /nowhere w") == []

    live(work, children=("web-1", "db", "$(reboot)", "-x"))


def test_nobody_is_there(notifyd, tmp_path, monkeypatch):
    """Each way says what to do."""
    monkeypatch.setenv("NOTIFYD_CONTROL", str(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(tmp_path / "closed"))
    cases = {
        (): f"no daemon listens at {tmp_path}/none: start `notifyd serve` with sockets.control in "
        "its configuration, or give its --socket",
        ("--socket", str(tmp_path / "file")): "no daemon listens at ",
        ("--socket", str(tmp_path / "closed")): "no daemon listens at ",
        ("--socket", "/" + "x" * 200): "too long: give the control socket of a daemon",
        ("--socket", "a\0b"): "no daemon listens at a\\x00b",
    }
    for words, text in cases.items():
        done = notifyd("ctl", "status", *words)
        assert (done.out, done.status) == ("", 2)
        assert text in done.err
        assert done.err.count("\n") == 1


def test_something_else_is_there(notifyd, tmp_path):
    """An answer that is none, or none at all, is no traceback."""
    path = str(tmp_path / "other")
    for answer, text in (
        (b"HTTP/1.1 400 Bad Request\r\n", "not notifyd of this version"),
        (b'{"notifyd":1,"result":{"x":1}}\n', "not notifyd of this version"),
        (b'{"notifyd":2,"result":[]}\n', "version 2"),
        (b'{"notifyd":1,"error":"\\u001b[31m"}\n', r"\x1b[31m"),
        (b"", "the daemon broke off"),
    ):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            pid = os.fork()
            if not pid:
                client, _ = server.accept()
                client.sendall(answer)
                os._exit(0)
            done = notifyd("ctl", "status", "--socket", path)
            os.waitpid(pid, 0)
        os.unlink(path)
        assert (done.out, done.status) == ("", 2)
        assert text in done.err


@pytest.mark.root
def test_no_permission(live):
    """Who may not connect is told who lets them in."""

    async def work(ground):
        ground.path.chmod(0o600)
        script = "import sys; from notifyd.cli import main; main(sys.argv[1:])"
        done = await trio.run_process(
            [
                "/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--inh-caps=-all", sys.executable, "-c", script, "ctl", "status",
                "--socket", str(ground.path),
            ],
            capture_stdout=True, capture_stderr=True, check=False, cwd="/",
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        assert done.returncode == 2
        assert b"permission denied: ask as root, or have sockets.control" in done.stderr

    live(work)


def test_which_socket(tmp_path):
    """What is named; the user's own, if it is there; the system's."""
    own = tmp_path / "notifyd" / "control.sock"
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert default_socket({}) == "/run/notifyd/control.sock"
    assert default_socket(environ) == "/run/notifyd/control.sock"
    own.parent.mkdir()
    own.touch()
    assert default_socket(environ) == str(own)
    assert default_socket({**environ, "NOTIFYD_CONTROL": "/x"}) == "/x"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({}, "--:--:--.--- ?"),
        ({"event": "call"}, "--:--:--.--- ? ?, thread ?"),
        (
            {"event": "call", "verdict": "kill", "syscall": "x\x1b", "workload": "w\n", "tid": 3},
            r"--:--:--.--- w\x0a  killed at x\x1b, thread 3",
        ),
        (
            {
                "event": "call", "workload": "w", "verdict": "allow", "how": "gone", "pid": 7,
                "exe": "/usr/bin/curl", "syscall": "openat", "args": {"path": "/a\u202e"},
                "reason": "Traceback\n  File\nValueError: no",
            },
            r"--:--:--.--- w  allowed openat /a\u202e (gone), curl[7]: ValueError: no",
        ),
        ({"event": "call", "args": [1], "reason": 5, "errno": {}}, "--:--:--.--- ? ? ({}), "
         "thread ?: 5"),
        ({"event": "workload.ended", "workload": "w", "calls": 3},
         "--:--:--.--- w: ended after 3 calls, ? refused"),
    ],
)  # fmt: skip
def test_event_lines(event, line):
    """Of whatever shape: one harmless line."""
    assert event_line(event) == line


def test_colour():
    """Refusals are red where somebody sees it."""
    assert "\x1b[31mrefused" in event_line({"event": "call", "verdict": "deny"}, color=True)
