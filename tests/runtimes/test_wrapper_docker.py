"""notifyd-runtime as a runtime of Docker, which passes no annotations in Debian's version."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from receiver_for_profiles import MARKED, MKNOD, WRAPPER, Bundle, Receiver

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root"),
]
PATIENCE = 60  # seconds


class Docker:
    """An engine of its own, with one image, `bb`, and the runtime `notifyd`."""

    def __init__(self, folder, settings):
        self.host = f"unix://{folder}/d.sock"
        self.settings = settings
        (folder / "x").mkdir()
        with (folder / "log").open("w") as log:
            self.daemon = subprocess.Popen(
                [
                    *("dockerd", "-H", self.host, "--pidfile", folder / "pid"),
                    *("--iptables=false", "--ip6tables=false", "--bridge=none"),
                    *("--storage-driver=vfs", "--data-root", folder / "x/data"),
                    *("--exec-root", folder / "x/exec", "--add-runtime", f"notifyd={WRAPPER}"),
                ],
                env=os.environ | {"NOTIFYD_RUNTIME_CONFIG": str(settings)},
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + PATIENCE
        while self.call("version").returncode:
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)

    def call(self, *words):
        """`docker WORDS`."""
        return subprocess.run(
            ["docker", "-H", self.host, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def run(self, *words):
        """`docker run WORDS` with the wrapper as runtime."""
        return self.call("run", "--runtime", "notifyd", "--network", "none", *words)


@pytest.fixture
def docker(tmp_path):
    """Docker, whose containers all get harmless-devices."""
    bundle = Bundle(tmp_path / "bundle", "runc")
    archive = tmp_path / "image.tar"
    subprocess.run(["tar", "-C", bundle.folder / "rootfs", "-cf", archive, "."], check=True)
    settings = tmp_path / "runtime.toml"
    settings.write_text(f'listener = "{tmp_path}/socket"\nrules = ["harmless-devices"]\n')
    found = Docker(tmp_path, settings)
    try:
        assert found.call("import", str(archive), "bb").returncode == 0
        yield found
    finally:
        found.daemon.terminate()
        found.daemon.wait(PATIENCE)


def test_docker_s_containers_report(docker, tmp_path):
    """Their own calls, and those of what is executed into them; Docker's own profile holds on."""
    with Receiver(tmp_path / "socket") as receiver:
        ran = docker.run("--rm", "bb", "sh", "-c", f"{MKNOD}; mknod /tmp/fifo p && echo made")
        assert (MARKED in ran.stderr, ran.stdout) == (True, "made\n")
        docker.run("--detach", "--name", "one", "bb", "sleep", "60")
        executed = docker.call("exec", "one", "sh", "-c", MKNOD)
        docker.call("rm", "--force", "one")
        assert MARKED in executed.stderr
        assert receiver.metadata == ["harmless-devices"] * 3


def test_docker_shows_why_a_container_does_not_start(docker):
    """Nobody listens; or the settings name a rule that there is not."""
    assert "failed to connect with seccomp agent" in docker.run("--rm", "bb", "true").stderr
    docker.settings.write_text('rules = ["harmles-devices"]\n')
    ran = docker.run("--rm", "bb", "echo", "runs")
    assert "notifyd-runtime: no shipped rule is named 'harmles-devices'" in ran.stderr
    assert ran.stdout == ""
