"""Real programs run unharmed under observers that look at every path, address and argument."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

OBSERVER = str(Path(__file__).with_name("rules") / "observer.py")
WATCH = ("--rules", "audit-exec", "--rules", OBSERVER, "--")
QUIET_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}
THREADS = """
import threading
found = []
def read():
    for _ in range(50):
        with open("/etc/passwd") as file:
            found.append(file.readline())
threads = [threading.Thread(target=read) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
print(len(found), len(set(found)))
"""


@pytest.fixture(autouse=True)
def calm_git(monkeypatch):
    """No configuration of this machine's user gets in."""
    for name, value in QUIET_GIT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def same(run, native):
    """Run a line natively and under the observers: same output, same status; the observed run."""

    def compare(*line: str) -> object:
        alone, ran = native(*line), run(*WATCH, *line)
        assert (ran.out, ran.status) == (alone.out, alone.status), ran.err
        assert all(event["how"] in ("continued", "gone") for event in ran.calls)
        assert ran.the("workload.ended")["calls"] == len(ran.calls) > 0
        return ran

    return compare


def test_git(same, tmp_path):
    """A clone of a local repository, and its fsck."""
    origin = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    for name in ("one", "two", "three"):
        (origin / name).write_text(name * 1000)
        subprocess.run(["git", "-C", str(origin), "add", "."], check=True)
        subprocess.run(["git", "-C", str(origin), "commit", "-qm", name], check=True)
    script = f"cd {tmp_path} && rm -rf copy && git clone -q --no-local origin copy && cd copy"
    ran = same("sh", "-c", f"{script} && git fsck --full --strict && git log --format=%s")
    assert ran.lines == ["three", "two", "one"]
    assert len(ran.of("Exec")) >= 4


def test_pip(same, tmp_path):
    """Installing a local wheel, with no index to ask."""
    package = tmp_path / "package"
    (package / "hello_wheel").mkdir(parents=True)
    (package / "hello_wheel" / "__init__.py").write_text("print('hello')\n")
    (package / "pyproject.toml").write_text('[project]\nname = "hello-wheel"\nversion = "1"\n')
    (wheel,) = WheelBuilder(str(package)).build(directory=str(tmp_path))
    target = tmp_path / "target"
    pip = f"{sys.executable} -m pip -q install --no-index --no-compile --target {target} {wheel}"
    script = (
        f"rm -rf {target} && {pip} && PYTHONPATH={target} {sys.executable} -c 'import hello_wheel'"
    )
    assert same("sh", "-c", script).lines == ["hello"]


@pytest.mark.parametrize("flags", [(), ("-m32",)])
def test_gcc(flags, same, tmp_path):
    """Compiling a program and running it, for 64 bits and for 32."""
    source, program = tmp_path / "a.c", tmp_path / "a"
    source.write_text(
        '#include <stdio.h>\nint main(void) { FILE *f = fopen("/etc/passwd", "r");'
        ' printf("%d %d\\n", (int)sizeof(long), f != NULL); return 3; }\n'
    )
    line = f"gcc {' '.join(flags)} -O1 -o {program} {source} && exec {program}"
    ran = same("sh", "-c", line)
    assert (ran.status, ran.lines) == (3, ["4 1" if flags else "8 1"])
    seen = {event["arch"] for event in ran.of("Open")}
    assert ("i386" in seen) == bool(flags)


def test_tar(same, native, tmp_path):
    """Every file below /usr/share/doc; and as many opens as strace(1) counts."""
    line = ("tar", "-C", "/usr/share", "--ignore-failed-read", "-cf", "/dev/null", "doc")
    ran = same(*line)
    counted = tmp_path / "strace"
    native("strace", "-f", "-o", str(counted), "-e", "trace=open,openat,openat2,creat", *line)
    opened = re.findall(r"^\d+ +(?:open|openat|openat2|creat)\(", counted.read_text(), re.M)
    assert len(ran.of("Open")) == len(opened) > 100


def test_threads(same):
    """Eight threads of one process, all opening at once."""
    ran = same(sys.executable, "-c", THREADS)
    assert ran.lines == ["400 1"]
    paths = [event["args"].get("path") for event in ran.of("Open")]
    assert paths.count(os.path.realpath("/etc/passwd")) == 400


def test_node(same):
    """Node, with its thread pool and its own event loop."""
    node = shutil.which("node")
    assert node is not None, "make test installs nodejs"
    read = "require('fs').readFile('/etc/hostname', (e, d) => console.log(d.length > 0))"
    assert same(node, "-e", read).lines == ["true"]
