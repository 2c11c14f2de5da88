"""What a process had to itself is gone when it has ended: nothing of notifyd's keeps it alive."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.perform.helpers import HELPER_IDLE_TIMEOUT_S

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces, roots and devices need root"),
]
TRIALS = "20"
LOOKS = """
@on(Open, Mkdir)
def looks(call):
    assert call.path
    return Allow()
"""
# milliseconds; what is mostly less than one, on the busiest of machines
SOON = 1000 * HELPER_IDLE_TIMEOUT_S / 4
NEVER = ["0 0.0"]  # in no trial, not even for a moment


@pytest.fixture
def there(here: Path) -> Path:
    """A folder with a folder `there`, where file systems are mounted."""
    (here / "there").mkdir(mode=0o777)
    (here / "there").chmod(0o777)
    return here


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A loop device with a file system."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    found = subprocess.run(
        ["losetup", "-f", "--show", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield found
    subprocess.run(["losetup", "-d", found], check=True)


@pytest.mark.parametrize("kind", ["mounts", "all", "pids", "chroot"])
def test_namespaces_and_roots_are_gone_at_once(kind, build, rule, run, native, there):
    """Before whoever waited for the process can look: a file system in them is no more."""
    words = build("gone"), kind, TRIALS
    assert native(*words, cwd=there).lines == NEVER
    assert run("--rules", rule(LOOKS, pulse=False), "--", *words, cwd=there).lines == NEVER


@pytest.mark.parametrize("kind", ["mounts", "thread"])
def test_a_device_is_free_at_once(kind, build, rule, run, native, there, device):
    """One that was mounted in the namespace of a process, or of one of its threads."""
    words = build("gone"), kind, TRIALS, device
    assert native(*words, cwd=there).lines == NEVER
    assert run("--rules", rule(LOOKS, pulse=False), "--", *words, cwd=there).lines == NEVER


@pytest.mark.parametrize(
    ("user", "kind"), [((), "user"), (("--user", "nobody"), "user"), ((), "killed")]
)
def test_what_nobody_can_leave_is_gone_soon(user, kind, build, rule, run, native, there):
    """A user namespace; and any, if the process is killed while a helper waits in its place."""
    words = build("gone"), kind, TRIALS
    assert native(*words, cwd=there).lines == NEVER
    ran = run(*user, "--rules", rule(LOOKS, pulse=False), "--", *words, cwd=there)
    assert ran.status == 7, ran.err
    assert float(ran.lines[0].split()[1]) < SOON


VETH = """
import os, subprocess, time
worst = 0
for _ in range(5):
    name = f"nt{os.getpid()}"
    made = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; read go; mkdir there/made; "
        "rmdir there/made"], stdin=-1, stdout=-1)
    made.stdout.readline()
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", name + "p", "netns",
        str(made.pid)], check=True)
    try:
        made.communicate(b"go")
        begun = time.monotonic()
        while os.path.exists(f"/sys/class/net/{name}") and time.monotonic() < begun + 20:
            time.sleep(0.001)
        worst = max(worst, time.monotonic() - begun)
    finally:
        if os.path.exists(f"/sys/class/net/{name}"):
            subprocess.run(["ip", "link", "del", name])
print(round(worst * 1000))
"""


def test_a_network_interface_is_gone_soon(rule, run, native, there):
    """One whose other end was in a namespace that has ended; the kernel itself takes its time."""
    looks = """
    @on(Mkdir)
    def looks(call):
        assert call.path
        return Allow()
    """
    words = "/usr/bin/python3", "-c", VETH
    for ran in (
        native(*words, cwd=there),
        run("--rules", rule(looks, pulse=False), "--", *words, cwd=there),
    ):
        assert ran.status == 0, ran.err
        assert float(ran.lines[0]) < SOON
