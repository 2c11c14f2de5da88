"""LXC itself: containers whose monitors ask over the proxy protocol, with the shipped rules.

Needs root, and `apt-get install --no-install-recommends lxc busybox-static`.
The root file systems are made here; nothing is fetched.
"""

import json
import shutil
import socket
import subprocess
import time
import types
from functools import partial

import pytest
import trio

from notifyd.audit.jsonl import JsonLines
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.engine.workload import Workload
from notifyd.listen.arrival import Kind
from notifyd.listen.lxc import serve_lxc
from notifyd.policy.load import load
from notifyd.policy.rule import DECLARED
from notifyd.policy.ruleset import RuleSet

PATIENCE = 30.0  # seconds; what a test waits at most
PROFILE = "2\ndenylist\n[all]\nmknod notify\nmknodat notify\n"  # as docs/how-to/lxc.md

pytestmark = pytest.mark.root


def tool(name):
    """The path of a program of the test machine."""
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install --no-install-recommends lxc busybox-static"
    return found


class Containers:
    """One directory of containers, all with one profile and one proxy."""

    def __init__(self, path, proxy):
        self.path = path
        self.proxy = proxy
        (path / "profile").write_text(PROFILE)

    def make(self, name, cookie="a cookie"):
        """A busybox container without the power to make devices."""
        home = self.path / name
        root = home / "rootfs"
        for one in ("bin", "dev", "proc", "sys", "tmp", "etc"):
            (root / one).mkdir(parents=True)
        shutil.copy(tool("busybox"), root / "bin/busybox")
        for one in ("sh", "mknod", "echo", "cat", "sleep", "ls", "rm"):
            (root / "bin" / one).symlink_to("busybox")
        (home / "config").write_text(
            f"lxc.uts.name = {name}\n"
            f"lxc.rootfs.path = dir:{root}\n"
            "lxc.net.0.type = empty\n"
            "lxc.cap.drop = mknod\n"
            "lxc.mount.auto = proc:rw\n"
            f"lxc.seccomp.profile = {self.path}/profile\n"
            f"lxc.seccomp.notify.proxy = unix:{self.proxy}\n"
            f"lxc.seccomp.notify.cookie = {cookie}\n"
        )

    def line(self, program, name, *words):
        """A command line of LXC's."""
        return [tool(program), "-P", str(self.path), "-n", name, *words]

    async def run(self, program, name, script):
        """Run a script in a container; its exit status and output."""
        line = self.line(program, name, "--", "/bin/sh", "-c", script)
        with trio.fail_after(PATIENCE):
            return await trio.run_process(
                line,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                check=False,
            )

    async def start(self, name, script="/bin/sleep 1000"):
        """Start a container in the background."""
        line = self.line("lxc-start", name, "-d", "--", "/bin/sh", "-c", script)
        with trio.fail_after(PATIENCE):
            await trio.run_process(line, stdin=subprocess.DEVNULL)

    def stop(self, name):
        """Kill a container, if it runs."""
        subprocess.run(self.line("lxc-stop", name, "-k"), capture_output=True, timeout=PATIENCE)


class Service:
    """Supervisor and LXC's socket, put together."""

    def __init__(self, rules, reporter):
        self.rules = rules
        self.reporter = reporter
        self.supervisor = Supervisor()
        self.arrivals = []
        self.refused = []

    def take(self, arrival):
        """Supervise whatever comes."""
        self.arrivals.append(arrival)
        self.supervisor.add(
            Workload(
                arrival.id, arrival.listener, self.rules, self.reporter, notifier=arrival.notifier
            )
        )

    async def work(self, server, function, **more):
        """Serve while a function is at work."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.supervisor.run)
            refuse = lambda peer, why: self.refused.append((peer, why))  # noqa: E731
            await nursery.start(partial(serve_lxc, server, self.take, refuse, **more))
            await function(self)
            nursery.cancel_scope.cancel()


@pytest.fixture
def server(tmp_path):
    """A listening socket for monitors."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "lxc.sock"))
        listening.listen(64)
        yield listening


@pytest.fixture
def containers(tmp_path):
    """Where containers are made; they are stopped at the end."""
    made = Containers(tmp_path, tmp_path / "lxc.sock")
    yield made
    for home in tmp_path.glob("*/config"):
        made.stop(home.parent.name)


@pytest.fixture
def serve(server, tmp_path, no_fd_left):
    """Run a function while containers are supervised: `serve(function, rules)`; the events."""

    def server_of(function, rules, **more):
        with JsonLines.open(str(tmp_path / "events.jsonl")) as audit:
            service = Service(rules, Reporter(audit=audit))
            trio.run(lambda: service.work(server, function, **more))
            service.reporter.flush()
        lines = (tmp_path / "events.jsonl").read_text().splitlines()
        return service, [json.loads(line) for line in lines]

    return server_of


def text_rules(text):
    """A rule set from the text of a rule file."""
    module = types.ModuleType("rules")
    exec("import errno, os, trio\nfrom notifyd import *\n" + text, module.__dict__)
    return RuleSet.build(module.__dict__[DECLARED])


DEVICES = """
cd /tmp
/bin/mknod null c 1 3 && echo text > null && echo "null works: [$(cat null)]"
/bin/mknod disk b 8 0 || echo "disk refused"
/bin/ls
"""
SAID = b"null works: []\nmknod: disk: Operation not permitted\ndisk refused\nnull\n"
MADE = [("Mknod", "performed", None), ("Mknod", "answered", "EPERM")]


def told(events):
    """What an audit file says of each call."""
    return [(one["operation"], one["how"], one.get("errno")) for one in events]


def test_harmless_devices(containers, serve):
    """A container without CAP_MKNOD makes null, which works, and is refused a disk."""
    containers.make("one", "a cookie")

    async def work(service):
        done = await containers.run("lxc-execute", "one", DEVICES)
        assert (done.returncode, done.stdout) == (0, SAID), service.refused

    service, events = serve(work, load(["harmless-devices"]))
    assert told(events) == MADE
    (arrival,) = service.arrivals
    assert (arrival.kind, arrival.metadata, arrival.peer.uid) == (Kind.LXC, "a cookie", 0)
    assert arrival.id == f"lxc-{arrival.pid}"  # lxc-execute shows no name
    assert service.refused == []


def test_attached(containers, serve):
    """What lxc-attach brings into a running container is supervised with it."""
    containers.make("two")

    async def work(_):
        await containers.start("two")
        done = await containers.run("lxc-attach", "two", DEVICES)
        assert (done.returncode, done.stdout) == (0, SAID)
        containers.stop("two")

    service, events = serve(work, load(["harmless-devices"]))
    assert told(events) == MADE
    assert {one["workload"] for one in events} == {"two"}
    assert [arrival.id for arrival in service.arrivals] == ["two"]


def test_each_container_has_its_connection(containers, serve):
    """Two at once, told apart by their cookies; both are supervised."""
    for name in ("left", "right"):
        containers.make(name, f"cookie of {name}")

    async def work(_):
        async def run(name):
            done = await containers.run("lxc-execute", name, DEVICES * 5)
            assert done.stdout.count(b"disk refused") == 5

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "left")
            nursery.start_soon(run, "right")

    service, events = serve(work, load(["harmless-devices"]))
    assert {one.metadata for one in service.arrivals} == {"cookie of left", "cookie of right"}
    assert len(events) == 20


SLOW = """
asked = []

@on(Mknod)
async def slow(call):
    asked.append(call)
    if len(asked) == 1:
        await trio.sleep_forever()
    return Deny(errno.EXDEV)
"""


def test_the_time_limit(containers, serve):
    """A call that is not answered in time gets ENOSYS, and LXC comes again with the next one."""
    containers.make("slow")
    script = "cd /tmp; /bin/mknod first c 1 3; /bin/mknod second c 1 3; /bin/ls"

    async def work(_):
        begun = time.monotonic()
        done = await containers.run("lxc-execute", "slow", script)
        assert b"mknod: first: Function not implemented\n" in done.stdout
        assert b"mknod: second: Invalid cross-device link\n" in done.stdout
        assert time.monotonic() - begun < 10

    service, events = serve(work, text_rules(SLOW), answer_within=1.0)
    assert told(events) == [("Mknod", "gone", None), ("Mknod", "answered", "EXDEV")]
    assert len(service.arrivals) == 2
    ((peer, why),) = service.refused
    assert peer.name == "lxc-execute"
    assert "no answer within 1 seconds" in why


def test_killed_while_it_waits(containers, serve):
    """LXC does not notice that a target is gone; it is told, and serves the next call at once."""
    containers.make("killed")
    script = """
    cd /tmp; /bin/mknod zeroth c 1 3; /bin/mknod first c 1 3 & /bin/sleep 0.5; kill -9 $!
    /bin/mknod second c 1 3; /bin/ls
    """
    rules = SLOW.replace("== 1", "== 2")

    async def work(_):
        begun = time.monotonic()
        done = await containers.run("lxc-execute", "killed", script)
        assert b"second: Invalid cross-device link" in done.stdout
        assert time.monotonic() - begun < 10

    service, events = serve(work, text_rules(rules))
    assert [how for _, how, _ in told(events)] == ["answered", "gone", "answered"]
    assert len(service.arrivals) == 1
    assert service.refused == []


def test_another_notifyd(containers, serve):
    """A container outlives its supervisor: ENOSYS while there is none, and then it comes again."""
    containers.make("lasting")
    log = containers.path / "lasting/rootfs/tmp/log"
    script = """
    cd /tmp
    while :; do /bin/mknod null c 1 3 && /bin/rm null && echo made; /bin/sleep 0.05; done > log 2>&1
    """
    refused = "mknod: null: Function not implemented\n"

    async def until(line):
        seen = log.stat().st_size if log.exists() else 0
        with trio.fail_after(PATIENCE):
            while not log.exists() or line not in log.read_text()[seen:]:
                await trio.sleep(0.02)

    async def first(_):
        await containers.start("lasting", script)
        await until("made\n")

    async def again(_):
        await until("made\n")
        done = await containers.run("lxc-attach", "lasting", DEVICES)
        assert b"disk refused" in done.stdout

    rules = load(["harmless-devices"])
    serve(first, rules)
    away = containers.proxy.rename(containers.path / "away")
    trio.run(until, refused)
    away.rename(containers.proxy)
    service, _ = serve(again, rules)
    assert {one.id for one in service.arrivals} == {"lasting"}
    assert service.refused == []


def test_an_allowlist(containers, serve):
    """The profile may be of the other kind, as long as it notifies."""
    containers.make("listed")
    (containers.path / "profile").write_text(
        "2\nallowlist allow\n[all]\nmknod notify\nmknodat notify\n"
    )

    async def work(_):
        done = await containers.run("lxc-execute", "listed", DEVICES)
        assert done.stdout == SAID

    _, events = serve(work, load(["harmless-devices"]))
    assert told(events) == MADE


def test_no_supervisor(containers):
    """A container whose proxy is not there ends at once, and makes nothing before."""
    containers.make("alone")
    script = "/bin/mknod /tmp/null c 1 3 && echo made; /bin/sleep 20; echo lasted"
    done = trio.run(containers.run, "lxc-execute", "alone", script)
    assert done.returncode
    assert not {b"made", b"lasted"} & set(done.stdout.split())
    assert list((containers.path / "alone/rootfs/tmp").iterdir()) == []
