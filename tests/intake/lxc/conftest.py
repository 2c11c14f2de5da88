"""LXC's monitors, played by the test: real notifications, real descriptors, the real protocol.

The monitor here does what lxc/src/lxc/seccomp.c does, and whatever else a peer may do.
"""

import contextlib
import errno
import os
import select
import socket
import time
import types
from functools import partial

import pytest
import trio

from notifyd.engine.listener import Listener
from notifyd.engine.report import Reporter
from notifyd.engine.supervisor import Supervisor
from notifyd.intake import lxc_notifier
from notifyd.intake.lxc import serve_lxc
from notifyd.intake.lxc_notifier import LxcConnection, LxcNotifier
from notifyd.intake.lxc_wire import MESSAGE_HEADER
from notifyd.kernel import seccomp, unix
from notifyd.kernel.unotify import NOTIF, RESPONSE, Notifier
from notifyd.policy.rule import DECLARED
from notifyd.policy.ruleset import RuleSet

PATIENCE = 20.0  # seconds; what a test waits at most
WAITS = """
asked, go = [], trio.Event()

@on(Raw("getppid"), patience=None)
async def answer(call):
    asked.append(call)
    await go.wait()
    return Return(7)
"""


def _rules_of(text):
    """A rule set from the text of a rule file, and the module that it became."""
    module = types.ModuleType("rules")
    exec("import errno, os, time, trio\nfrom notifyd import *\n" + text, module.__dict__)
    return RuleSet.build(module.__dict__[DECLARED]), module


def _refused(call=110):
    """The errno that a call without arguments gets; 0 if it succeeds."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.syscall(call) < 0 else 0


@pytest.fixture
def rules_of():
    """Make a rule set from the text of a rule file: `rules_of(text)`; the set and the module."""
    return _rules_of


@pytest.fixture
def returns():
    """Rules by which getppid returns 7 at once."""
    return _rules_of("@on(Raw('getppid'))\ndef answer(call):\n    return Return(7)\n")[0]


@pytest.fixture
def waits():
    """Rules by which getppid returns 7 when the module's `go` is set; the set and the module."""
    return _rules_of(WAITS)


@pytest.fixture
def refused():
    """Call getppid: `refused()`, the errno that it gets; 0 if it succeeds."""
    return _refused


class Clock:
    """The notifier's clocks: as the real ones, or `ahead` of them by so many seconds."""

    def __init__(self):
        self.ahead = 0.0

    def monotonic(self):
        """As time.monotonic."""
        return time.monotonic() + self.ahead

    def time(self):
        """As time.time."""
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch):
    """What the notifier takes for the time: a limit is over when a test says so, and not before."""
    made = Clock()
    monkeypatch.setattr(lxc_notifier, "time", made)
    return made


class Monitor:
    """LXC's side. One connection at a time, and one request."""

    def __init__(self, path, child):
        self.path = path
        self.child = child
        self.notifier = Notifier(child.listener)
        self.socket = None

    def connect(self):
        """Connect, or connect anew."""
        self.close()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(self.path)

    def close(self):
        """Close the connection."""
        if self.socket is not None:
            self.socket.close()

    async def receive(self):
        """The next notification."""
        await trio.lowlevel.wait_readable(self.child.listener)
        return self.notifier.receive()

    def packet(self, note, cookie=b"a cookie"):
        """What LXC writes for it."""
        header = MESSAGE_HEADER.pack(0, os.getpid(), self.child.pid, 80, 24, 64, len(cookie))
        return header + NOTIF.pack(*note) + RESPONSE.pack(note[0], 0, 0, 0) + cookie

    def send(self, data, note, last=None):
        """Send a packet with the three descriptors; `last` in place of the listener."""
        with contextlib.ExitStack() as stack:
            fds = []
            for name, flags in (("", os.O_DIRECTORY), ("/mem", os.O_RDWR)):
                fds.append(os.open(f"/proc/{note[1]}{name}", flags))
                stack.callback(os.close, fds[-1])
            fds.append(self.child.listener if last is None else last)
            return unix.send_fds(self.socket, data, fds)

    async def reply(self):
        """The answer: 136 bytes; none at the end of the connection."""
        await trio.lowlevel.wait_readable(self.socket)
        try:
            return self.socket.recv(4096)
        except ConnectionResetError:  # what was sent was not read before the end
            return b""

    async def ask(self, **more):
        """Receive a notification and ask about it."""
        note = await self.receive()
        self.send(self.packet(note, **more), note)
        return note

    async def answer(self, note):
        """Wait for the answer and send it on; ENOSYS if there is none. What it was."""
        reply = await self.reply()
        if len(reply) != 136:
            self.notifier.respond(note[0], 0, -errno.ENOSYS, 0)
            return None
        id_, value, error, flags = RESPONSE.unpack(reply[112:])
        assert id_ == note[0]
        self.notifier.respond(note[0], value, error, flags)
        return value, error, flags


class Service:
    """Supervisor and socket, put together."""

    def __init__(self, rules):
        self.rules = rules
        self.supervisor = Supervisor()
        self.arrivals = []
        self.workloads = []
        self.refused = []

    def take(self, arrival):
        """Supervise whatever comes."""
        self.arrivals.append(arrival)
        workload = Listener(
            arrival.id, arrival.listener, self.rules, Reporter(), notifier=arrival.notifier
        )
        self.workloads.append(workload)
        self.supervisor.add(workload)

    def refuse(self, peer, why):
        """Note why."""
        assert peer.pid == os.getpid()
        self.refused.append(why)

    async def until(self, condition):
        """Wait until something is so."""
        while not condition():
            await trio.sleep(0.002)


@pytest.fixture
def path():
    """Where the socket is; an abstract name, which every user can reach."""
    return f"\0notifyd-lxc-{os.getpid()}"


@pytest.fixture
def serve(path):
    """Run a function while monitors are served: `serve(work, rules)`; the service."""

    def runner(work, rules, take=None, **more):
        service = Service(rules)

        async def main(server):
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    await nursery.start(service.supervisor.run)
                    taking = take or service.take
                    serving = partial(serve_lxc, server, taking, service.refuse, **more)
                    await nursery.start(serving)
                    await work(service)
                    nursery.cancel_scope.cancel()

        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.bind(path)
            server.listen(2000)
            trio.run(main, server)
        return service

    return runner


@pytest.fixture
def start(program_for, path, start_child):
    """Start a child and its monitor: `start(work, calls)`."""
    with contextlib.ExitStack() as stack:

        def starter(work, calls=("getppid",)):
            # LXC asks for no other flag.
            child = start_child(work, program_for(*calls), seccomp.FILTER_FLAG_NEW_LISTENER)
            stack.callback(os.close, child.listener)
            monitor = Monitor(path, child)
            stack.callback(monitor.close)
            return child, monitor

        yield starter


@pytest.fixture
def pair(start):
    """A notifier with one request, and the monitor at the other end: `pair(**more)`."""
    with contextlib.ExitStack() as stack:

        def maker(**more):
            child, monitor = start(_refused)
            monitor.socket, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            number, told = end.fileno(), []
            unix.stamp_packets(end)
            link = LxcConnection(
                more.get("within", 10.0),
                told.append,
                lambda: told.append("closed"),
                more.get("may_ask", lambda tid: True),
            )
            sender = os.getpid(), child.pid, "a cookie"
            notifier = LxcNotifier(end.detach(), sender, link)
            stack.callback(os.close, number)
            stack.callback(notifier.close)
            select.select([child.listener], [], [])
            note = monitor.notifier.receive()
            monitor.send(monitor.packet(note), note)
            return child, monitor, notifier, told

        yield maker
