"""Real programs under an observer: same output, same status, and an event for every call."""

import os
import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest

OBSERVER = str(Path(__file__).with_name("rules") / "observer.py")
RULES = ("--rules", "audit-exec", "--rules", OBSERVER)
WATCHED = "trace=open,openat,openat2,creat,connect,execve,execveat"


@pytest.fixture
def alike(run, native, tmp_path):
    """Run a line in two folders made alike, native and observed; returns the observed run."""

    def both(*words, prepare=lambda folder: None, env=None):
        ran = []
        for name in ("native", "observed"):
            folder = tmp_path / name / "here"
            folder.mkdir(parents=True)
            prepare(folder)
            more = {"cwd": folder, "env": {**os.environ, **(env or {})}}
            if name == "native":
                ran.append(native(*words, **more))
            else:
                more["env"]["PYTHONPATH"] = str(Path(__file__).parents[2])
                ran.append(run(*RULES, "--", *words, **more))
        alone, ours = ran
        assert (ours.status, ours.out) == (alone.status, alone.out)
        assert ours.err == alone.err
        assert ours.status == 0, ours.err
        assert ours.the("workload.ended")["calls"] == len(ours.calls)
        assert ours.the("workload.ended")["refused"] == 0
        assert {event["verdict"] for event in ours.calls} <= {"continue", "allow"}
        assert {event["how"] for event in ours.calls} <= {"continued", "gone"}
        return ours

    return both


def repository(folder):
    """A git repository of forty commits."""
    source = folder.parent / "source"
    if source.exists():
        return
    script = """
    git init -q source && cd source && git config user.email a@b && git config user.name c
    for i in $(seq 40); do mkdir -p d$((i % 5)); seq $i > d$((i % 5))/f$i; git add .
    git commit -q -m "$i" --date=@1000000000; done; git gc -q"""
    environment = {**os.environ, "GIT_COMMITTER_DATE": "@1000000000 +0000"}
    subprocess.run(["sh", "-c", script], cwd=folder.parent, env=environment, check=True)


def test_git(alike):
    """A clone of a local repository, checked, with a new commit and its log."""
    script = """
    git clone -q --no-hardlinks ../source copy && cd copy && git fsck --full --strict &&
    git config user.email a@b && git config user.name c && echo new > new && git add new &&
    git commit -q -m new --date=@1000000000 && git log --stat --format=%H%n%s && git status"""
    environment = {"GIT_COMMITTER_DATE": "@1000000000 +0000"}
    ran = alike("sh", "-c", script, prepare=repository, env=environment)
    assert len(ran.of("Open")) > 100
    assert any(event["args"]["pathname"].endswith("git") for event in ran.of("Exec"))


def wheel(folder):
    """A wheel with a script and some modules."""
    name, info = "odd-1.0-py3-none-any.whl", "odd-1.0.dist-info"
    modules = [f"odd/m{at}.py" for at in range(30)]
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr("odd/__init__.py", "def main():\n    print('odd')\n")
        for module in modules:
            file.writestr(module, "x = 1\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", "[console_scripts]\nodd = odd:main\n")
        listed = [
            "odd/__init__.py",
            *modules,
            f"{info}/METADATA",
            f"{info}/WHEEL",
            f"{info}/RECORD",
        ]
        file.writestr(f"{info}/RECORD", "".join(f"{one},,\n" for one in listed))


def test_pip(alike):
    """Pip installs a local wheel into a folder, and what it installed runs."""
    import sys

    script = f"{sys.executable} -m pip install -q --no-index --no-cache-dir --target lib *.whl && "
    script += (
        f"PYTHONPATH=lib {sys.executable} -c 'import odd, odd.m7; odd.main()' && find lib | sort"
    )
    ran = alike("sh", "-c", script, prepare=wheel, env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert "odd\n" in ran.out


def test_gcc(alike):
    """Gcc compiles, assembles and links, and the program runs."""

    def source(folder):
        shutil.copy(Path(__file__).with_name("programs") / "threads.c", folder / "a.c")

    ran = alike("sh", "-c", "gcc -O2 -pthread -o a a.c && ./a && sha256sum a a.c", prepare=source)
    programs = {event["args"]["pathname"].rpartition("/")[2] for event in ran.of("Exec")}
    assert {"gcc", "cc1", "as", "ld"} <= programs


def test_tar(alike):
    """Tar packs and unpacks a thousand documents with the same checksum."""
    script = """
    mkdir out; cd /usr/share/doc; find . -type f | LC_ALL=C sort | head -1000 > $OLDPWD/list
    cd $OLDPWD; tar --sort=name -C /usr/share/doc -cf docs.tar -T list && sha256sum docs.tar &&
    tar -C out -xf docs.tar && find out -type f | wc -l"""
    ran = alike("sh", "-c", script)
    assert len(ran.of("Open")) > 1500


def threads(folder, *flags):
    """threads.c, built."""
    source = Path(__file__).with_name("programs") / "threads.c"
    line = ["gcc", "-O1", "-pthread", *flags, "-o", "threads", str(source)]
    subprocess.run(line, cwd=folder, check=True)


def test_threads(alike):
    """Eight threads with files of their own, and children in between."""
    ran = alike("./threads", prepare=threads)
    opened = Counter(event["args"]["pathname"] for event in ran.of("Open"))
    assert sum(many for path, many in opened.items() if path.startswith("file-")) == 1600
    assert len(ran.of("Exec")) == 1 + 8 * 4


def test_python(alike):
    """Python with a pool of threads, sub-processes and a connection to itself."""
    script = """
import concurrent.futures, socket, subprocess, threading
server = socket.create_server(("127.0.0.1", 0))
def serve():
    for _ in range(20):
        peer, _ = server.accept()
        peer.sendall(peer.recv(99).upper()); peer.close()
threading.Thread(target=serve).start()
def ask(at):
    with socket.create_connection(server.getsockname()) as s:
        s.sendall(b"hello %d" % at)
        return s.recv(99), subprocess.check_output(["echo", str(at)])
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(list(pool.map(ask, range(20))))
"""
    ran = alike("python3", "-c", script)
    assert len(ran.of("Connect")) >= 20
    assert len([e for e in ran.of("Exec") if e["args"]["argv"][:1] == ["echo"]]) >= 20


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(alike):
    """Node with workers, timers and a child."""
    script = """
    const { Worker } = require('worker_threads'), fs = require('fs');
    for (let i = 0; i < 4; i++)
        new Worker('require("fs").readFileSync("/etc/passwd")', { eval: true });
    fs.writeFileSync('x', 'hello');
    fs.promises.readFile('x', 'utf8').then(t => console.log(t,
        require('child_process').execSync('echo child').toString()));"""
    assert "hello child" in alike("node", "-e", script).out


def test_a_32_bit_program(alike):
    """The same program behind the i386 entry."""
    ran = alike("./threads", prepare=lambda folder: threads(folder, "-m32"))
    mine = [event for event in ran.of("Open") if event["arch"] == "i386"]
    assert len([e for e in mine if e["args"]["pathname"].startswith("file-")]) == 1600


def test_a_long_argument_list(alike):
    """Ten thousand arguments are no reason to refuse a program."""
    ran = alike("sh", "-c", "seq 20000 | xargs -n 10000 echo | sha256sum")
    assert all("argv" in event["args"] for event in ran.of("Exec"))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_events_are_as_many_as_strace_counts(run, native, tmp_path):
    """For a program without threads strace and the audit file count the same calls."""
    script = "ls -lR /usr/include/linux | sha256sum; grep -r SECCOMP /usr/include/linux | wc -l"
    traced = native(
        "strace", "-f", "-q", "-o", str(tmp_path / "trace"), "-e", WATCHED, "sh", "-c", script
    )
    ran = run(*RULES, "--", "sh", "-c", script)
    assert ran.out == traced.out
    lines = (tmp_path / "trace").read_text().splitlines()
    counted = Counter(
        line.split(maxsplit=1)[1].partition("(")[0]
        for line in lines
        if "(" in line and "resumed" not in line
    )
    ours = Counter(event["syscall"] for event in ran.calls)
    assert {name: ours[name] for name in counted} == dict(counted)
