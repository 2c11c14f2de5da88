"""Live events over the control socket."""

import os
import time

import trio

from notifyd.daemon.control import MAX_FOLLOWERS
from notifyd.engine.fast_answer import FastAnswerer
from notifyd.events.followers import MAX_FOLLOWER_BACKLOG_BYTES


def recording(daemon) -> bool:
    """Whether anything is written down of calls, by all or by none."""
    found = {daemon.log.audit is not None}
    for supervised in daemon.workloads.values():
        found.add(supervised.reporter.audit is not None)
        for member in supervised.members:
            found.add(member.workload.answer_plainly.__func__ is FastAnswerer.recorded)
    assert len(found) == 1
    return found.pop()


def test_following(live):
    """Calls and other events as they happen, also of those that come later; nothing else."""

    async def work(ground):
        web = ground.daemon.workloads["web"]
        ground.call("web", b"p")
        await ground.counted(web, 1)
        async with ground.client() as client:
            assert await client.ask("events") == {"keeps": MAX_FOLLOWER_BACKLOG_BYTES}
            ground.call("web", b"pgs")
            lines = [await client.line() for _ in range(3)]
            assert [line["syscall"] for line in lines] == ["getppid", "getpgrp", "getsid"]
            assert [line["verdict"] for line in lines] == ["return", "deny", "deny"]
            assert lines[1]["errno"] == "EACCES"
            assert lines[1]["reason"] == "no groups here"
            assert "broken" in lines[2]["reason"]
            ground.start("db")
            assert (await client.line())["event"] == "workload.started"
            ground.call("db", b"p")
            line = await client.line()
            assert (line["workload"], line["syscall"], line["value"]) == ("db", "getppid", 7)
            assert line["pid"] == ground.daemon.workloads["db"].members[0].pid
            async with ground.client() as other:
                await other.ask("kill", id="db")
            ended = [(await client.line())["event"] for _ in range(2)]
            assert sorted(ended) == ["control.command", "workload.ended"]

    live(work, children=("web",))


def test_filters(live):
    """What a reader does not want is not sent."""

    async def work(ground):
        async with ground.client() as denied, ground.client() as db:
            await denied.ask("events", verdict="deny", operation="R*")
            await db.ask("events", workload="d*", event="call")
            ground.call("web", b"ppg")
            assert (await denied.line())["syscall"] == "getpgrp"
            ground.call("db", b"p")
            assert (await db.line())["workload"] == "db"

    live(work, children=("web", "db"))


def test_what_tasks_answer(live):
    """An async rule's answer is told though nothing else happens."""

    async def work(ground):
        async with ground.client() as client:
            await client.ask("events", event="workload.*")
            ground.call("web", b"u")
            await ground.until(lambda: ground.daemon.workloads["web"].pending)
            ground.daemon.detach(ground.daemon.workloads["web"])
            assert (await client.line())["event"] == "workload.ended"

    live(work, children=("web",))


def test_nothing_is_written_down_for_nobody(live, tmp_path):
    """Without a file, calls are recorded while somebody follows, and only counted otherwise."""

    async def work(ground):
        daemon = ground.daemon
        assert not recording(daemon)
        async with ground.client() as one, ground.client() as two:
            await one.ask("events")
            assert recording(daemon)
            ground.start("late")
            assert recording(daemon)
            await two.ask("events", verdict="kill")
            one.socket.close()
            await ground.until(lambda: daemon.followers == 1)
            assert recording(daemon)
        await ground.until(lambda: daemon.followers == 0)
        assert not recording(daemon)
        ground.call("web", b"p")
        await ground.counted(daemon.workloads["web"], 1)
        assert daemon._stream.taken == []
        ground.start("later")
        assert not recording(daemon)

    live(work, children=("web",))


def test_the_file_goes_on(live, tmp_path):
    """With a file, all is written whoever follows."""
    path = tmp_path / "events.jsonl"

    async def work(ground):
        assert recording(ground.daemon)
        async with ground.client() as client:
            await client.ask("events", workload="nobody")
            ground.call("web", b"p")
            await ground.until(lambda: b"getppid" in path.read_bytes())
        await ground.until(lambda: ground.daemon.followers == 0)
        assert recording(ground.daemon)
        ground.call("web", b"g")
        await ground.until(lambda: b"getpgrp" in path.read_bytes())

    live(work, children=("web",), audit=str(path))


def test_whoever_only_sends_no_more(live):
    """Half a farewell is none: `printf ... | socat` reads on."""

    async def work(ground):
        async with ground.client() as client:
            await client.ask("events")
            client.socket.shutdown(trio.socket.SHUT_WR)
            await trio.sleep(0.7)
            ground.call("web", b"p")
            assert (await client.line())["syscall"] == "getppid"
        await ground.until(lambda: ground.daemon.followers == 0)

    live(work, children=("web",))


def test_whoever_never_reads(live):
    """The daemon answers on, keeps a bounded part, and says how much it did not keep."""
    calls = 12_000

    async def work(ground):
        web = ground.daemon.workloads["web"]
        async with ground.client() as deaf, ground.client() as other:
            await deaf.ask("events")
            begun = time.monotonic()
            for _ in range(calls // 1000):
                ground.call("web", b"p" * 1000)
            while sum(one.count for one in web.reporter.counters.sums().values()) < calls:
                assert (await other.ask("status"))["workloads"] == 1
                await trio.sleep(0.05)
            assert time.monotonic() - begun < 15
            (follower,) = ground.daemon._stream._followers
            assert follower._size <= MAX_FOLLOWER_BACKLOG_BYTES
            told = 0
            while told < calls:
                line = await deaf.line()
                told += line["lines"] if line["event"] == "audit.lost" else 1
            assert told == calls
            assert line["event"] == "audit.lost"

    live(work, children=("web",))


def test_not_too_many(live):
    """Each may make the daemon keep something, so there is a limit; the place of one is free."""

    async def work(ground):
        clients = [ground.client() for _ in range(MAX_FOLLOWERS)]
        for one in clients:
            await one.__aenter__()
            await one.ask("events")
        async with ground.client() as late:
            assert "end one of them first" in await late.ask("events")
            clients.pop().socket.close()
            await ground.until(lambda: ground.daemon.followers < MAX_FOLLOWERS)
            assert await late.ask("events") == {"keeps": MAX_FOLLOWER_BACKLOG_BYTES}
        for one in clients:
            one.socket.close()
        await ground.until(lambda: ground.daemon.followers == 0)
        assert len(os.listdir("/proc/self/fd")) < MAX_FOLLOWERS + 40

    live(work)
