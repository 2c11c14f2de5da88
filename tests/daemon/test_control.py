import array
import contextlib
import json
import os
import pwd
import socket

import pytest
import trio

from notifyd.daemon.daemon import Daemon
from notifyd.daemon.protocol import CONTROL_COMMANDS
from notifyd.daemon.rights import ControlContext
from notifyd.errors import PeerError, UsageError
from notifyd.intake.arrival import Peer

STRANGER = Peer(1, 12345, 12345, "stranger")


def said(err: str, text: str) -> list[str]:
    """The lines of the log that have a text."""
    return [line for line in err.splitlines() if text in line]


def test_what_it_tells(live):
    """Status, workloads and rules are those of the daemon, several asked on one connection."""

    async def work(ground):
        ground.call("web", b"ppgs")
        await ground.counted(ground.daemon.workloads["web"], 4)
        async with ground.client() as client:
            status = await client.ask("status")
            workloads = await client.ask("workloads")
            rules = await client.ask("rules")
        assert (status["workloads"], status["calls"], status["refused"]) == (2, 4, 2)
        assert (status["rule_errors"], status["pid"]) == (1, os.getpid())
        assert status["sockets"]["control"] == str(ground.path)
        web, other = workloads
        assert (web["id"], web["calls"], web["refused"], web["listeners"]) == ("web", 4, 2, 1)
        assert (web["section"], web["arrival"]) == ("all", "native")
        assert web["slowest_us"] > 0
        assert (other["id"], other["calls"], other["slowest_us"]) == ("db", 0, 0)
        (section,) = rules
        assert (section["name"], section["kernel"], section["workloads"]) == ("all", ["Ptrace"], 2)
        assert section["rules"] == ["./r.py"]

    live(work, children=("web", "db"))


def test_calls_that_wait_are_pending(live):
    """And nothing else waits with them."""

    async def work(ground):
        ground.call("web", b"u")
        await ground.until(lambda: ground.daemon.workloads["web"].pending)
        async with ground.client() as client:
            assert (await client.ask("status"))["pending"] == 1
            assert (await client.ask("workloads"))[0]["pending"] == 1

    live(work, children=("web",))


def test_kill(live, capsys):
    """The first process is killed; who wanted it is in the log."""

    async def work(ground):
        async with ground.client() as client:
            assert await client.ask("kill", id="web") == {"processes": 1}
            await ground.until(lambda: not ground.daemon.workloads)
            missing = await client.ask("kill", id="web")
            assert missing == "no workload 'web' is supervised: see `notifyd ctl workloads`"

    live(work, children=("web",))
    err = capsys.readouterr().err
    (line,) = said(err, "control: kill by ")
    assert f"pid {os.getpid()}" in line
    assert len(said(err, "control: no kill for ")) == 1


def test_detach(live):
    """The listener is closed; the process lives on without."""

    async def work(ground):
        async with ground.client() as client:
            assert await client.ask("detach", id="web") == {"listeners": 1}
        await ground.until(lambda: not ground.daemon.workloads)
        ground.call("web", b"p")  # ENOSYS, and no crash

    live(work, children=("web",))


def test_reload(live, capsys):
    """Whoever asks gets the notes, or every mistake."""
    answers: list[object] = [["a note"], UsageError("n.toml:3: one\nn.toml:4: two")]

    async def reload(why: str) -> list[str]:
        assert f"pid {os.getpid()}" in why
        answer = answers.pop(0)
        if isinstance(answer, UsageError):
            raise answer
        return answer

    async def work(ground):
        async with ground.client() as client:
            assert await client.ask("reload") == {"notes": ["a note"]}
            assert await client.ask("reload") == "n.toml:3: one\nn.toml:4: two"

    live(work, reload=reload)
    assert len(said(capsys.readouterr().err, "control: reload by ")) == 1


def test_without_reload(live):
    """A daemon that cannot says so."""

    async def work(ground):
        async with ground.client() as client:
            assert await client.ask("reload") == "this daemon cannot reload: restart it"

    live(work)


def test_an_error_of_ours(live, capsys):
    """It is in the log with its traceback; the daemon goes on."""

    async def reload(why: str) -> list[str]:
        raise ZeroDivisionError("ours")

    async def work(ground):
        async with ground.client() as client:
            assert "an error in notifyd itself" in await client.ask("reload")
        async with ground.client() as client:
            assert (await client.ask("status"))["workloads"] == 0

    live(work, reload=reload)
    assert said(capsys.readouterr().err, "ZeroDivisionError: ours")


def test_who_may_what(policies):
    """Those who are named may all; where anybody may come, strangers only read."""
    for users, reads, changes in (([], False, False), ([12345], True, True), ("any", True, False)):
        desk = ControlContext(Daemon(policies(users=users), None), None)
        for check, allowed in (
            (lambda desk=desk: desk.check_reads(STRANGER), reads),
            (lambda desk=desk: desk.check_changes(STRANGER, "kill"), changes),
        ):
            if allowed:
                check()
            else:
                with pytest.raises((PeerError, UsageError), match="users"):
                    check()
        for uid in (0, os.geteuid()):
            desk.check_changes(Peer(1, uid, 0, "own"), "kill")


@pytest.mark.root
@pytest.mark.parametrize("users", [(), ("any",)])
def test_strangers(live, tmp_path, users, capsys):
    """A user who is not named is told so, over the real socket; one of anybody reads."""

    async def work(ground):
        status, kill = await ground.as_nobody("status"), await ground.as_nobody("kill", id="web")
        if users:
            assert status["result"]["workloads"] == 1
            assert "may only read" in kill["error"]
        else:
            assert "may not use this socket" in status["error"]
            assert "may not use this socket" in kill["error"]
        assert ground.daemon.workloads

    live(work, children=("web",), users="any" if users else ())
    err = capsys.readouterr().err
    uid = pwd.getpwnam("nobody").pw_uid
    assert said(err, f"uid {uid})")


BAD = [
    (b"garbage\n", "not understood"),
    (b"\x00" * 100 + b"\n", "not understood"),
    (b'{"notifyd":1,"command":"nothing"}\n', "unknown command"),
    (b'{"notifyd":9,"command":"status"}\n', "version 9"),
    (b"x" * (1 << 16), "a line of more than 65536 bytes"),
    (b"x" * (10 << 20), "a line of more than 65536 bytes"),
]


@pytest.mark.parametrize(("data", "error"), BAD, ids=range(len(BAD)))
def test_garbage(live, capsys, data, error):
    """It is answered with what is wrong, the connection ends, and the log names the peer."""

    async def work(ground):
        async with ground.client() as client, trio.open_nursery() as nursery:

            async def send():
                with contextlib.suppress(OSError):  # it does not want the rest
                    await client.send(data)

            nursery.start_soon(send)
            with_error = await client.line()
            # What was not read resets the connection, the reply may be lost with it.
            assert with_error is None or error in with_error["error"]
            if len(data) <= 1 << 16:
                assert with_error is not None
                assert await client.line() is None
        await ground.until(lambda: ground.daemon.arrivals.refused["control"])
        async with ground.client() as client:
            assert (await client.ask("status"))["arrivals_refused"] == {"control": 1}

    live(work)
    (line,) = said(capsys.readouterr().err, "control: refused")
    assert error in line
    assert f"pid {os.getpid()}" in line


def test_half_a_line(live, capsys):
    """Whoever stops in the middle is left when the time is over."""

    async def work(ground):
        async with ground.client() as slow:
            await slow.send(b'{"notifyd":1')
            assert "no whole line within 0.2 seconds" in (await slow.line())["error"]
            assert await slow.line() is None

    live(work, patience=0.2)
    assert len(said(capsys.readouterr().err, "control: refused")) == 1


def test_whoever_leaves_in_the_middle(live, capsys):
    """At once."""

    async def work(ground):
        async with ground.client() as leaves:
            await leaves.send(b'{"notifyd":1,')
            leaves.socket.shutdown(socket.SHUT_WR)
            assert "ends after 13 bytes" in (await leaves.line())["error"]

    live(work)
    assert len(said(capsys.readouterr().err, "control: refused")) == 1


def test_a_line_in_pieces(live, capsys):
    """And with empty lines: it is served."""

    async def work(ground):
        async with ground.client() as client:
            for piece in (b"\n\n \n", b'{"notifyd":1,', b'"command":"status"}', b"\n\n"):
                await client.send(piece)
                await trio.sleep(0.02)
            assert (await client.line())["result"]["workloads"] == 0

    live(work)
    assert "refused" not in capsys.readouterr().err


def test_whoever_is_silent(live, capsys):
    """An idle connection ends quietly."""

    async def work(ground):
        async with ground.client() as idle:
            assert await idle.line() is None

    live(work, idle=0.2)
    assert "refused" not in capsys.readouterr().err


def test_whoever_never_reads(live):
    """Answers that nobody takes end the connection; others are served meanwhile."""

    async def work(ground):
        request = b'{"notifyd":1,"command":"metrics"}\n'

        async def send(deaf):
            with pytest.raises(BrokenPipeError):
                await deaf.send(request * 20_000)

        async with ground.client() as deaf, ground.client() as other, trio.open_nursery() as two:
            two.start_soon(send, deaf)
            assert (await other.ask("status"))["workloads"] == 1

    live(work, children=("web",), patience=0.3)


def test_descriptors_are_not_taken(live):
    """What comes along over the socket is closed by the kernel."""

    async def work(ground):
        reading, writing = os.pipe()
        async with ground.client() as client:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing] * 100))
            line = json.dumps({"notifyd": 1, "command": "status"}).encode() + b"\n"
            await client.socket.sendmsg([line], [rights])
            assert (await client.line())["result"]
            os.close(writing)
            assert os.read(reading, 1) == b""  # no writer is left anywhere
            os.close(reading)

    live(work)


def test_a_crowd(live, capsys):
    """Of 300 connections of one user those that are too many are closed, and the rest served."""

    async def work(ground):
        crowd = [ground.client() for _ in range(300)]
        for one in crowd:
            await one.__aenter__()
        await ground.until(lambda: ground.daemon.arrivals.refused["control"])
        served = 0
        for one in crowd:
            try:
                await one.send(b'{"notifyd":1,"command":"status"}\n')
                served += await one.line() is not None
            except OSError:
                pass
            one.socket.close()
        assert served == 256
        await trio.sleep(0.1)
        async with ground.client() as client:
            assert (await client.ask("status"))["arrivals_refused"]["control"] == 300 - served

    live(work)
    assert len(said(capsys.readouterr().err, "control: refused")) == 5  # the rest is counted


def test_changes_are_marked():
    """Whoever may only read cannot ask for these."""
    changing = {name for name, one in CONTROL_COMMANDS.items() if one.changes}
    assert changing == {"reload", "rotate", "detach", "kill", "approve", "deny", "revoke"}
