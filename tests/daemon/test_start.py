"""Starting a daemon that cannot start: one clear line, exit status 2, nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from notifyd import handover

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
[sockets.oci]
path = "{here}/oci.sock"
[sockets.native]
path = "{here}/native.sock"
[[workload]]
name = "all"
rules = ["no-network"]
"""


@pytest.fixture
def tmp_path():
    """A folder that everybody may look into."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def start(tmp_path):
    """Runs `notifyd serve` to its end: status and standard error."""

    def run(text: str, *words: str, user: int | None = None) -> tuple[int, str]:
        path = tmp_path / "notifyd.toml"
        path.write_text(text.replace("{here}", str(tmp_path)))
        finished = subprocess.run(
            [sys.executable, "-m", "notifyd", "serve", "--config", str(path), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            user=user,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return finished.returncode, finished.stderr + finished.stdout

    return run


def _left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def _wrong(change: str, by: str) -> str:
    assert change in GOOD
    return GOOD.replace(change, by)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_wrong("rules", "ruels"), "workload[1].ruels: no such key; did you mean 'rules'?"),
        (_wrong('"no-network"', '"./none.py"'), "no rule file"),
        (_wrong("native.sock", "there"), "/there is a directory: name a file in it"),
        (_wrong("native.sock", "used"), "/used is in use"),
        (_wrong("native.sock", "x" * 108), "107 are possible: shorten it"),
        (_wrong("native.sock", "no/no/x.sock"), "make the directory above"),
        (_wrong("native.sock", "notifyd.toml"), "is not a socket: remove it"),
    ],
)
def test_mistakes(start, tmp_path, text, said):
    """Of the configuration, the rules and the sockets; the good socket is not left either."""
    (tmp_path / "there").mkdir()
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(tmp_path / "used"))
        used.listen()
        status, err = start(text)
        assert status == 2, err
        (line,) = err.splitlines()
        assert line.startswith("notifyd: ")
        assert said in line
        assert _left(tmp_path) == ["notifyd.toml", "there", "used"]


def test_several_mistakes(start):
    """Each has a line of its own."""
    status, err = start(GOOD.replace("rules", "ruels").replace("path", "paht"))
    assert status == 2
    assert [line.split(" ")[0] for line in err.splitlines()] == ["notifyd:"] * 3


@pytest.mark.root
def test_no_permission(start, tmp_path):
    """A socket where an ordinary user may not make one."""
    (tmp_path / "locked").mkdir(mode=0o755)
    status, err = start(_wrong("native.sock", "locked/native.sock"), user=65534)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "no permission in" in err


def test_check(start, tmp_path):
    """A good configuration is told as a table; no socket is made for that."""
    status, out = start(GOOD, "--check")
    assert (status, out.splitlines()[0]) == (0, f"{tmp_path}/notifyd.toml: good")
    assert "all       no-network  everybody" in out
    assert _left(tmp_path) == ["notifyd.toml"]
    status, out = start(GOOD.replace("no-network", "no-netwrk"), "--check")
    assert status == 2
    assert "did you mean 'no-network'?" in out


def test_ends(serve):
    """SIGTERM ends it with status 0, and its sockets are gone."""
    service = serve(GOOD)
    assert Path(service.path("oci")).is_socket()
    assert service.stop() == 0
    assert not Path(service.path("oci")).exists()
    assert service.events("service.stopping")[0]["signal"] == "SIGTERM"


def test_nobody_reads_standard_error(behind):
    """Its reader has gone: the daemon goes on, and ends in order."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="nd-") as name:
        config = Path(name, "n.toml")
        config.write_text(GOOD.replace("{here}", name))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "notifyd", "serve", "--config", str(config)],
            stderr=writing,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        os.close(writing)
        try:
            assert b"ready" in os.read(reading, 1000)
            os.close(reading)
            for number in range(3):
                one = behind(["true"], "no-network")
                handover(one.listener, id=f"n{number}", path=f"{name}/native.sock", pid=one.pid)
                os.close(one.listener)
                one.listener = None
                os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
