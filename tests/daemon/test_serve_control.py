"""`notifyd ctl` against `notifyd serve`: both as people start them."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

CONFIG = """
{top}
[sockets.native]
path = "{here}/native.sock"
[sockets.control]
path = "{here}/control.sock"
[[workload]]
name = "tools"
rules = ["connect-allowlist"]
"""


def ctl(service, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `notifyd ctl`."""
    return subprocess.run(
        [sys.executable, "-m", "notifyd", "ctl", *words],
        env={**os.environ, "NOTIFYD_CONTROL": service.path("control")},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def free_port() -> int:
    """One that the kernel gives to nobody who lets it choose: it stays free for a while."""
    first, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    while True:
        port = random.randrange(10_000, int(first))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def test_reload(serve):
    """A new configuration is in force, a wrong one is not, and the log names who asked."""
    text = CONFIG.replace("{top}", "watch = false")
    service = serve(text)
    service.write(text.replace("tools", "others"))
    assert ctl(service, "reload").stdout == "reloaded\n"
    assert ctl(service, "rules").stdout.startswith("others: 0 workloads\n")
    service.write(text.replace("connect-allowlist", "no-such-rules"))
    wrong = ctl(service, "reload")
    assert (wrong.stdout, wrong.returncode) == ("", 2)
    assert f"{service.config}:" in wrong.stderr
    assert "no-such-rules" in wrong.stderr
    assert ctl(service, "rules").stdout.startswith("others: 0 workloads\n")
    assert service.wait_for("control.command", command="reload")["peer"].endswith(
        f"uid {os.geteuid()})"
    )
    refused = service.wait_for("control.refused", command="reload")
    assert "no-such-rules" in refused["reason"]


def test_metrics(serve):
    """The port is open on the loopback, and the same comes from `ctl`."""
    port = free_port()
    service = serve(CONFIG.replace("{top}", f"metrics-port = {port}"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        fetched = answer.read().decode()
    assert "notifyd_workloads 0.0" in fetched.splitlines()
    assert ctl(service, "metrics").stdout == fetched


def test_followers_do_not_hold_up_the_end(serve):
    """It stops with readers that do not read, and those that do are told."""
    service = serve(CONFIG.replace("{top}", ""))
    deaf = service.connect("control")
    deaf.sendall(b'{"notifyd":1,"command":"events"}\n' + b"x" * 1000)
    with service.connect("control") as reader, deaf:
        reader.sendall(b'{"notifyd":1,"command":"events"}\n')
        lines = reader.makefile()
        assert "keeps" in json.loads(lines.readline())["result"]
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 5
        assert "service.stopping" in lines.readline()
        assert lines.readline() == ""
    assert not os.path.exists(service.path("control"))
