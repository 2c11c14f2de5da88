"""Many questions: from many workloads, over a restart, of hostile programs."""

import json
import socket
import subprocess
import sys
import time

import pytest
import trio

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

MANY = '''
"""Groups are asked for."""
import errno
from notifyd import *

@on(Raw("getpgid"))
def group(call):
    return Ask(f"group {call.arg0:d}?", otherwise=Deny(errno.EACCES))

@on(Raw("getppid"))
def parent(call):
    return Return(7)
'''
OWN = "[approvals]\nself-approval = true\n"


def test_a_hundred_from_twenty(live):
    """All are listed; another workload's calls go on; what is withdrawn disappears."""
    names = tuple(f"w{n}" for n in range(20))

    async def work(ground):
        for name in names:
            ground.call(name, b"5")
        await ground.until(lambda: len(ground.daemon.queue.pending) == 100)
        busy = ground.daemon.workloads["busy"]
        async with ground.client() as client, ground.client() as stream:
            assert len(await stream.ask("questions")) == 100
            questions = await client.ask("pending")
            assert len({one["id"] for one in questions}) == 100
            assert {one["workload"] for one in questions} == set(names)
            assert all(one["tree"] for one in questions)
            begun = trio.current_time()
            ground.call("busy", b"p" * 500)
            await ground.counted(busy, 500)
            assert trio.current_time() - begun < 5.0
            assert len(ground.daemon.queue.pending) == 100
            for one in questions:
                if one["workload"] in names[:10]:
                    await client.ask("approve", id=one["id"])
            for name in names[10:]:
                ground.daemon.workloads[name].kill()
            await ground.until(lambda: not ground.daemon.queue.pending)
            assert await client.ask("pending") == []
            while (await stream.line())["result"]:
                pass

    live(work, children=(*names, "busy"), rules=MANY, top=OWN)


CONFIG = """
[approvals]
path = "{here}/approvals.db"
self-approval = true
[sockets.native]
path = "{here}/native.sock"
[sockets.control]
path = "{here}/control.sock"
[[workload]]
name = "tools"
rules = ["RULES"]
"""
FIFTY = """
import ctypes, errno, sys, threading

libc = ctypes.CDLL(None, use_errno=True)  # os.getpgid would keep the others waiting

def ask(number):
    libc.getpgid(number)
    said = {errno.EACCES: "refused", errno.ESRCH: "done"}
    sys.stdout.write(said[ctypes.get_errno()] + "\\n")

first = int(sys.argv[1])
threads = [threading.Thread(target=ask, args=(first + n,)) for n in range(50)]
for one in threads: one.start()
for one in threads: one.join()
"""


def start(service, *words: str) -> subprocess.Popen:
    """Start a program behind the daemon."""
    native = service.path("native")
    return subprocess.Popen(
        [sys.executable, "-m", "notifyd", "run", f"--service={native}", "--", *words],
        stdout=subprocess.PIPE,
        text=True,
    )


class Control:
    """A connection to the control socket."""

    def __init__(self, service) -> None:
        self.socket = service.connect("control")
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, command: str, **fields):
        request = {"notifyd": 1, "command": command, **fields}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self.reply()

    def reply(self):
        return json.loads(self.file.readline())["result"]

    def pending(self, count: int) -> list[dict]:
        """The questions, once there are so many."""
        end = time.monotonic() + 30
        while len(found := self.ask("pending")) < count:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


@pytest.fixture
def rules(tmp_path):
    """A file of rules that ask."""
    (tmp_path / "many.py").write_text(MANY)
    return str(tmp_path / "many.py")


def test_a_hundred_grants_over_a_restart(serve, rules, tmp_path):
    """Each still holds: nothing is asked again, and nothing refused."""
    text = CONFIG.replace("RULES", rules).replace("{here}/approvals", f"{tmp_path}/approvals")
    service = serve(text)
    firsts = ("900000", "910000")
    programs = [start(service, sys.executable, "-c", FIFTY, first) for first in firsts]
    with Control(service) as control:
        for question in control.pending(100):
            control.ask("approve", id=question["id"], scope="always")
        assert len(control.ask("grants")) == 100
    for one in programs:
        assert one.communicate(timeout=30)[0].split() == ["done"] * 50
    service.stop()
    service = serve(text)
    with Control(service) as control:
        assert len(control.ask("grants")) == 100
        for first in firsts:
            again = start(service, sys.executable, "-c", FIFTY, first)
            assert again.communicate(timeout=30)[0].split() == ["done"] * 50
        assert control.ask("pending") == []
        new = start(service, sys.executable, "-c", FIFTY, "899990")
        questions = control.pending(10)
        assert len(questions) == 10  # those of 900000 and more are known
        for question in questions:
            control.ask("deny", id=question["id"])
        assert sorted(new.communicate(timeout=30)[0].split()) == ["done"] * 40 + ["refused"] * 10
        assert len(control.ask("history", limit=1000, state="granted")) == 100


HOSTILE = "\x1b]0;x\x07\u202e<img src=x onerror=alert(1)>\r\n"


def test_a_megabyte_of_argv(serve, rules, tmp_path):
    """It is cut and made harmless, in JSON and in the table."""
    service = serve(CONFIG.replace("RULES", rules))
    words = [HOSTILE * 2000] * 13
    assert sum(len(one.encode()) for one in words) > 1_000_000
    script = "import os; os.getpgid(0)"
    program = start(service, sys.executable, "-c", script, *words)
    with Control(service) as control:
        (question,) = control.pending(1)
        line = question["tree"][0]["cmdline"]
        assert line.isprintable()
        assert len(line) < 6000
        assert r"\x1b]0;x\x07\u202e<img" in line
        table = subprocess.run(
            [
                sys.executable,
                "-m",
                "notifyd",
                "ctl",
                "pending",
                "--socket",
                service.path("control"),
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert all(one.isprintable() for one in table.stdout.splitlines())
        with service.connect("control") as raw:
            raw.sendall(b'{"notifyd":1,"command":"pending"}\n')
            raw.shutdown(socket.SHUT_WR)
            data = b""
            while piece := raw.recv(1 << 16):
                data += piece
        assert len(data) < 100_000
        assert data.decode().rstrip("\n").isprintable()
        control.ask("approve", id=question["id"])
    program.communicate(timeout=30)
    assert program.returncode == 0
