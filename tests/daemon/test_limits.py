"""A daemon that may have no more threads and processes goes on, and says what it cannot do."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root"),
]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds
CONFIG = """
[sockets.native]
path = "{here}/native.sock"
[[workload]]
name = "all"
rules = ["{here}/rule.py"]
"""
RULE = "from notifyd import *\n\n@on(Mkdir)\ndef making(call):\n    call.path\n    return Allow()\n"


@pytest.fixture
def here():
    """A folder of a user's who has no process."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder:
        place, uid = Path(folder), random.randrange(1 << 20, 1 << 24)
        (place / "notifyd.toml").write_text(CONFIG.replace("{here}", folder))
        (place / "rule.py").write_text(RULE)
        for one in (place, *place.iterdir()):
            os.chown(one, uid, uid)
        place.chmod(0o755)
        yield place


@pytest.fixture
def daemon(here):
    """`notifyd serve` of that user; its standard error is `here/log`."""
    uid = here.stat().st_uid
    with (here / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "notifyd", "serve", "--config", str(here / "notifyd.toml")],
            stderr=log,
            user=uid,
            group=uid,
            extra_groups=[],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    yield process
    process.kill()
    process.wait()


def told(daemon, here, text):
    """Wait until the log says so; return it."""
    until = time.monotonic() + PATIENCE
    while text not in (said := (here / "log").read_text()):
        assert daemon.poll() is None, said
        assert time.monotonic() < until, said
        time.sleep(0.02)
    return said


def watching(daemon):
    """Wait until it watches its files, which is done in a thread of watchfiles' own."""
    until = time.monotonic() + PATIENCE
    while not any("notify-rs" in one.read_text() for one in _tasks(daemon.pid)):
        assert time.monotonic() < until
        time.sleep(0.02)


def _tasks(pid):
    return Path(f"/proc/{pid}/task").glob("*/comm")


def test_a_daemon_without_threads(daemon, here):
    """Neither a file that changes nor SIGHUP ends it; what it has goes on."""
    told(daemon, here, "ready")
    watching(daemon)
    uid = here.stat().st_uid
    own = {"user": uid, "group": uid, "extra_groups": []}
    subprocess.run(["prlimit", f"--pid={daemon.pid}", "--nproc=1:1"], check=True, **own)
    (here / "rule.py").write_text(RULE + "\n")
    told(daemon, here, "files are not watched any more")
    daemon.send_signal(signal.SIGHUP)
    told(daemon, here, "cannot be loaded now: [Errno 11] no thread can be started")
    daemon.terminate()
    assert daemon.wait(PATIENCE) == 0
    said = (here / "log").read_text()
    assert "Traceback" not in said, said
    assert "panicked" not in said, said
