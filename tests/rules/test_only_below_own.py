"""Of what lies outside, a program has what is its own: its /proc, its pipes, the Python it is."""

import errno
import os
import re
import subprocess

import pytest

from notifyd import Access, Allow, Deny, MessageQueue, Open, ReadLink, Stat
from notifyd.kernel.arch import entries, native
from notifyd.testing import call_from_registers, load_rules, make_call, verdict_of

RULES = ["only-below"]
NOBODY = 65534
SYSTEM_PYTHON = "/usr/bin/python3"
PREFIX = "import sys; print(sys.prefix)"


def says(operation, **fields):
    """What the rule says: an errno, or a verdict."""
    found = verdict_of(load_rules(*RULES, allow="/srv"), make_call(operation, **fields))
    return found.errno if isinstance(found, Deny) else found


@pytest.mark.parametrize(
    ("operation", "fields", "free"),
    [
        (Open, {"path": "/proc/self/maps"}, True),
        (Open, {"path": "/proc/1000/status"}, True),
        (Open, {"path": "/proc/1000/task/1001/stat"}, True),
        (Open, {"path": "/proc/1000/fd"}, True),
        (Stat, {"path": "/proc/self"}, True),
        (Stat, {"path": "/proc"}, True),
        (ReadLink, {"path": "/proc/self/exe"}, True),
        (Open, {"path": "/proc/self/mem", "flags": os.O_RDWR}, False),
        (Open, {"path": "/proc/self/comm", "flags": os.O_WRONLY}, False),
        (Access, {"path": "/proc/self/uid_map", "wanted": os.W_OK}, False),
        (Open, {"path": "/proc/10001/maps"}, False),
        (Open, {"path": "/proc/1/maps"}, False),
        (Open, {"path": "/proc"}, False),
        (Open, {"path": "/proc/meminfo"}, False),
        (Open, {"path": "/proc/self/mounts"}, False),
        (Open, {"path": "/proc/self/mountinfo"}, False),
        (Open, {"path": "/proc/self/net/unix"}, False),
        (Open, {"path": "/proc/self/task/1000/net/tcp"}, False),
        (Open, {"path": "/proc/self/task/1000/mountinfo"}, False),
    ],
)
def test_of_proc_its_own(operation, fields, free):
    """And of that what is about itself, to read."""
    assert says(operation, **fields) == (Allow() if free else errno.EACCES)


def test_the_refusal_says_what_would_allow_it():
    """The option that adds the place; of /proc there is all or nothing."""
    rules = load_rules(*RULES, allow="/srv")
    for fields, option in (
        ({"path": "/home/f"}, "--option read=/home/f adds it"),
        ({"path": "/home/f", "flags": os.O_WRONLY}, "--option allow=/home/f adds it"),
        ({"path": "/proc/1/maps"}, "--option read=/proc adds it"),
    ):
        assert option in verdict_of(rules, make_call(Open, **fields)).reason


def test_read_adds_and_only_read_replaces():
    """The system's directories stay readable with the one, and go with the other."""
    system, own = make_call(Open, path="/usr/lib/x"), make_call(Open, path="/opt/x")
    added = load_rules(*RULES, allow="/srv", read="/opt")
    assert verdict_of(added, own) == verdict_of(added, system) == Allow()
    instead = load_rules(*RULES, allow="/srv", **{"only-read": "/opt"})
    assert verdict_of(instead, own) == Allow()
    assert verdict_of(instead, system).errno == errno.EACCES


@pytest.mark.parametrize("arch", [one.name for one in entries(native())])
def test_message_queues_are_files(arch):
    """Of /dev/mqueue: open to those who are given that, by every entry."""
    for syscall in ("mq_open", "mq_unlink"):
        call = call_from_registers(MessageQueue, syscall, 0x1000, 0o102, arch=arch)
        refused = verdict_of(load_rules(*RULES, allow="/srv"), call)
        assert refused == Deny(errno.EACCES)
        assert verdict_of(load_rules(*RULES, allow="/dev"), call) == Allow()


# -- the real kernel


LOOK = """
other = sys.argv[1]

def read(path):
    with open(path, "rb") as file:
        return len(file.read(1))

for name in ("maps", "status", "stat", "environ", "auxv", "limits", "task/{}/stat", "mounts"):
    own = name.format(os.getpid())
    attempt(f"own {name}", read, f"/proc/self/{own}")
    attempt(f"numbered {name}", read, f"/proc/{os.getpid()}/{own}")
    attempt(f"thread's {name}", read, f"/proc/thread-self/{own.rpartition('/')[2]}")
    attempt(f"other's {name}", read, f"/proc/{other}/{name.format(other)}")
    attempt(f"parent's {name}", read, f"/proc/{os.getppid()}/{name.format(os.getppid())}")
attempt("exe", lambda: os.path.basename(os.path.realpath("/proc/self/exe")))
attempt("descriptors", lambda: len(os.listdir("/proc/self/fd")))
attempt("processes", os.listdir, "/proc")
attempt("by dots", read, f"/proc/self/../{other}/stat")
here = os.open("/proc/self", os.O_RDONLY)
attempt("by a descriptor", lambda: os.open("stat", os.O_RDONLY, dir_fd=here))
attempt("by a descriptor and dots", lambda: os.open(f"../{other}/stat", os.O_RDONLY, dir_fd=here))
child = os.fork()
if not child:
    attempt("the parent's by a descriptor", lambda: os.open("stat", os.O_RDONLY, dir_fd=here))
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def other(user):
    """Another process of the same user."""
    name = NOBODY if user else None
    with subprocess.Popen(["/bin/sleep", "100"], env={"X": "SECRET"}, user=name) as process:
        yield str(process.pid)
        process.kill()


def test_a_program_looks_at_itself_and_nobody_else(python, natively, everybodys, other, user):
    """By every name; natively all of it can be read."""
    ran = python(
        RULES, LOOK, other, user=user, allow=str(everybodys), read=os.path.dirname(os.sys.prefix)
    )
    own = {name: found for name, found in ran.found.items() if re.match("own|numb|thread", name)}
    others = {
        name: one for name, one in ran.found.items() if re.match("other|parent|the par", name)
    }
    assert ran.status == 0, ran.err
    assert {name for name, found in own.items() if found == "EACCES"} == {
        "own mounts",
        "numbered mounts",
        "thread's mounts",
    }
    assert set(others.values()) == {"EACCES"}
    assert ran.found["exe"].startswith("python3")
    assert ran.found["descriptors"] >= 3
    assert ran.found["processes"] == ran.found["by dots"] == "EACCES"
    assert isinstance(ran.found["by a descriptor"], int)
    assert ran.found["by a descriptor and dots"] == "EACCES"
    assert natively(LOOK, other, user=user)["other's stat"] == 1


QUEUES = """
librt = ctypes.CDLL("librt.so.1", use_errno=True)

def queue():
    found = librt.mq_open(b"/notifyd-test", os.O_RDWR | os.O_CREAT, 0o600, None)
    if found < 0:
        raise OSError(ctypes.get_errno(), "")

def remove():
    if librt.mq_unlink(b"/notifyd-test") < 0:
        raise OSError(ctypes.get_errno(), "")

attempt("make", queue)
attempt("remove", remove)
"""


def test_no_message_queues(python, natively, everybodys, user):
    """In the kernel; natively there are some, and so with the place that they lie in."""
    assert natively(QUEUES, user=user) == {"make": "done", "remove": "done"}
    ran = python(RULES, QUEUES, user=user, allow=str(everybodys))
    assert ran.found == {"make": "EACCES", "remove": "EACCES"}
    assert not [one for one in ran.calls if one["operation"] == "MessageQueue"]
    if os.path.isdir("/dev/mqueue"):
        ran = python(RULES, QUEUES, user=user, allow=(str(everybodys), "/dev/mqueue"))
        assert ran.found == {"make": "done", "remove": "done"}


PIPES = """
echo 1 | cat /dev/stdin; echo 2 > /dev/stdout | cat; cat <(echo 3); echo 4 | tee /dev/fd/1 | cat
"""


def test_what_is_open_is_opened_again_by_its_own_name(run, everybodys, user):
    """Pipes, as shells have them opened; another process's stay closed."""
    ran = run(RULES, "/bin/bash", "-c", PIPES, user=user, allow=str(everybodys))
    assert ran.out.split() == ["1", "2", "3", "4", "4"], ran.err
    held, into = os.pipe()
    with subprocess.Popen(["/bin/sleep", "100"], pass_fds=[held], user=user) as other:
        os.write(into, b"SECRET")
        line = f"ln -s /proc/{other.pid}/fd {everybodys}/link; cat {everybodys}/link/{held}"
        ran = run(RULES, "/bin/sh", "-c", line, user=user, allow=str(everybodys))
        other.kill()
    assert "SECRET" not in ran.out
    assert ran.status == 1


# -- the Python that was typed


@pytest.fixture
def environment(tmp_path_factory):
    """A virtual environment that every user can run, apart from where one may write."""
    place = tmp_path_factory.mktemp("environment") / "v"
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", place], check=True)
    (place / "secret").write_text("SECRET")
    (place / "bin" / "tool").write_text(f"#!{place}/bin/python3\n{PREFIX}\n")
    (place / "bin" / "tool").chmod(0o755)
    return place


@pytest.mark.parametrize(
    "words",
    [
        ["python3", "-c", PREFIX],
        ["{v}/bin/python3", "-c", PREFIX],
        ["{v}/bin/python", "-c", PREFIX],
        ["tool"],
        ["sh", "-c", "python3 -c '{prefix}'"],
        ["env", "python3", "-c", PREFIX],
        ["./script"],
    ],
)
def test_the_python_that_was_typed_runs(run, environment, everybodys, monkeypatch, words):
    """However it is named, and not the one that it was made from."""
    monkeypatch.setenv("PATH", f"{environment}/bin", prepend=":")
    monkeypatch.chdir(everybodys)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    script = everybodys / "script"
    script.write_text(f"#!/usr/bin/env python3\n{PREFIX}\n")
    script.chmod(0o755)
    words = [one.format(v=environment, prefix=PREFIX) for one in words]
    natively = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    ran = run(RULES, *words, allow=str(everybodys))
    assert (ran.status, ran.out) == (0, natively), ran.err
    assert natively.strip() == str(environment)


def test_no_more_of_an_environment_than_python_needs(run, environment, everybodys):
    """Its directory may be a project's."""
    code = f"open({str(environment / 'secret')!r})"
    ran = run(RULES, str(environment / "bin" / "python3"), "-c", code, allow=str(everybodys))
    assert ran.status == 1
    reasons = [one.get("reason", "") for one in ran.calls]
    assert any(f"--option read={environment}/secret adds it" in one for one in reasons)


def test_a_tool_runs_wherever_it_lies(run, tmp_path, everybodys):
    """The command is what the person named; what it starts is not."""
    for name, text in (("tool", 'exec "$0".other'), ("tool.other", "echo other")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}; {text}\n")
        (tmp_path / name).chmod(0o755)
    ran = run(RULES, str(tmp_path / "tool"), allow=str(everybodys))
    assert ran.out == "tool\n"
    reasons = [one["reason"] for one in ran.calls if one["operation"] == "Exec" and "errno" in one]
    assert reasons == [
        f"{tmp_path}/tool.other is not on the list: --option read={tmp_path}/tool.other adds it"
    ]


def test_no_tool_widens_what_the_next_run_reads(run, tmp_path, everybodys):
    """A link that it leaves in its place leads nowhere the next time."""
    secret = tmp_path / "secret"
    secret.write_text("#!/bin/sh\necho SECRET\n")
    secret.chmod(0o755)
    tool = everybodys / "tool"
    tool.symlink_to(secret)
    ran = run(RULES, str(tool), allow=str(everybodys))
    assert "SECRET" not in ran.out
    assert ran.status == 126
