"""Executing what a rule looked at: every way there is, compared with what happens natively."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EVERYTHING = """
@on(Exec)
def looks(call):
    call.path, call.argv, call.envp, call.sha256
    return Allow()
"""
PATH = """
@on(Exec)
def looks(call):
    call.path
    return Allow()
"""
NOBODY = 65534
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["root", "nobody"])
def user(request):
    """Whose name the command runs in."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    return request.param


@pytest.fixture
def place(build, tmp_path):
    """A directory with everything that exec.c wants to execute."""
    for one in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        one.chmod(one.stat().st_mode | 0o055)
    here = tmp_path / "here"
    here.mkdir()
    for name in ("program", "copy"):
        shutil.copy(build("exec"), here / name)
    texts = {
        "script": "#!./program -x  y \nfoo",
        "absolute": f"#! \t{here}/program \nfoo",
        "nested": "#!script arg\n",
        "orphan": "#!/no/such\n",
        "script-of-directory": "#!/tmp\n",
        "text": "hello\n",
        "cut": "#!" + "/x" * 200,
        "odd": "#!./program\0zero\n",
        "empty": "",
    }
    for at, name in enumerate(["program", *(f"deep{n}" for n in range(1, 6))], 1):
        texts[f"deep{at}"] = f"#!{name}\n"
    for name, text in texts.items():
        (here / name).write_text(text)
        (here / name).chmod(0o755)
    (here / "plain").write_text("not executable\n")
    for name in ("directory", "locked"):
        (here / name).mkdir()
    shutil.copy(build("exec"), here / "locked")
    (here / "locked").chmod(0)
    os.mkfifo(here / "fifo")
    (here / "fifo").chmod(0o777)
    (here / "copy").chmod(0o777)
    (here / "loop").symlink_to("loop")
    (here / "link").symlink_to("program")
    here.chmod(0o755)
    return here


@pytest.fixture
def both(place, rule, run):
    """Run a way of exec.c behind a rule and natively; what it printed, and the events."""

    def runner(text, *words, user="root"):
        line = (str(place / "program"), "way", *words)
        other = {} if user == "root" else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        native = subprocess.run(
            line, cwd=place, capture_output=True, text=True, timeout=60, **other
        )
        as_user = [] if user == "root" else ["--user", user]
        ran = run(*as_user, "--rules", rule(text, pulse=False), "--", *line, cwd=place)
        assert ran.status == native.returncode == 7, ran.err + ran.out
        return ran, native.stdout.splitlines()

    return runner


def test_every_way_is_as_natively(both, user):
    """Paths, descriptors, links of /proc, threads, vfork, scripts of scripts."""
    names = ("program", "./script", "absolute", "nested", "odd", "link")
    ran, native = both(EVERYTHING, "kinds", *names, user=user)
    assert ran.lines == native
    assert {event["how"] for event in ran.of("Exec")} >= {"verified", "continued"}
    assert not [event for event in ran.events if event["event"] == "exec.mismatch"]


def test_failures_are_the_kernels(both, user):
    """What cannot be executed fails with the errno that it has natively."""
    ran, native = both(EVERYTHING, "errors", user=user)
    assert ran.lines == native


def test_the_error_in_the_event_is_what_the_program_got(both):
    """It is read from the registers of the thread."""
    ran, native = both(PATH, "errors")
    assert ran.lines == native
    told = [(event.get("errno"), event["how"]) for event in ran.of("Exec")]
    assert told.count(("ENOEXEC", "continued")) >= 1
    assert told.count(("ETXTBSY", "continued")) == 1


@pytest.mark.parametrize("way", [("threads", "6", "60"), ("parallel", "200"), ("killed", "150")])
def test_many_at_once(both, way):
    """Threads that all execute, two hundred processes, and processes that are killed meanwhile."""
    ran, native = both(EVERYTHING, *way)
    assert ran.lines == native
    assert ran.lines[-1] == "wrong 0"


def test_a_storm_of_signals(both):
    """Handled, blocked and ignored signals, stops and continuations; nothing is lost or hangs."""
    ran, native = both(PATH, "storm", "60")
    assert ran.lines == native == ["700"]


def test_what_is_traced_already_is_refused(both):
    """With EPERM, and a reason that says so."""
    ran, native = both(PATH, "traced")
    assert native == ["stopped"]
    assert ran.lines == ["EPERM"]
    (refused,) = [event for event in ran.of("Exec") if event["verdict"] == "deny"]
    assert "traced already" in refused["reason"]


def test_what_runs_can_be_traced(both):
    """Nobody holds a program once it has begun."""
    ran, native = both(EVERYTHING, "tracing")
    assert ran.lines == native == ["followed 5"]


def test_set_user_id_programs_keep_their_powers(both, place):
    """Where notifyd may trace them anyway."""
    if os.geteuid():
        pytest.skip("only root can make one")
    program = place / "privileged"
    shutil.copy(place / "program", program)
    program.chmod(0o4755)
    ran, native = both(EVERYTHING, "ids", str(program))
    assert ran.lines == native == ["65534 0"]


def test_programs_of_the_other_entry(build, rule, run, native, tmp_path):
    """An i386 program executes, and its arguments are compared."""
    probe = ["gcc", "-m32", "-x", "c", "-", "-o", str(tmp_path / "probe")]
    try:
        subprocess.run(probe, input="int main(){return 0;}", text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("gcc cannot make i386 programs here")
    program = build("exec", "-m32")
    ran = run("--rules", rule(EVERYTHING, pulse=False), "--", program, "way", "threads", "3", "5")
    assert (ran.status, ran.lines[-1]) == (7, "wrong 0")
    assert {event["arch"] for event in ran.of("Exec")} == {"x86_64", "i386"}


def test_programs_that_nobody_may_read(both, place):
    """Root verifies them all the same."""
    (place / "program").chmod(0o711)
    ran, _ = both(EVERYTHING, "shell", "./program 1; ./script 2", user="nobody")
    told = [line.partition("{")[0] for line in ran.lines]
    assert told == ["[./program][1]", "[./program][-x  y][./script][2]"]
    assert [event["how"] for event in ran.of("Exec")] == ["verified"] * 4


@pytest.fixture
def ordinary(place, rule):
    """Run all of notifyd as an ordinary user; what it and the command printed."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": place}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    probe = subprocess.run([sys.executable, "-c", "import notifyd"], env=environment, **other)
    if probe.returncode:
        pytest.skip("our Python, or this checkout, is closed to others")

    def runner(text, *words):
        line = [sys.executable, "-m", "notifyd", "run", "--rules", rule(text, pulse=False), "--"]
        found = subprocess.run(
            [*line, *words], env=environment, capture_output=True, text=True, timeout=60, **other
        )
        native = subprocess.run(words, capture_output=True, text=True, timeout=60, **other)
        return found, native

    return runner


@pytest.mark.parametrize(
    "way", [("kinds", "program", "nested"), ("errors",), ("threads", "4", "9")]
)
def test_an_ordinary_user_verifies_its_own(ordinary, place, way):
    """Without any power, every way is as natively too."""
    found, native = ordinary(EVERYTHING, str(place / "program"), "way", *way)
    assert (found.stdout, found.returncode) == (native.stdout, 7), found.stderr


def test_an_ordinary_user_cannot_verify_what_it_may_not_read(ordinary, place):
    """EACCES, before anything is executed."""
    (place / "program").chmod(0o711)
    found, _ = ordinary(PATH, "/bin/sh", "-c", f"{place}/program; echo $?")
    assert found.stdout == "126\n"


def test_a_shell_with_pipes_and_jobs(rule, start):
    """Pipelines, background jobs, and a job that is stopped and continued."""
    script = """
    set -m
    printf 'b\\na\\n' | sort | tr a-z A-Z | tee /dev/null
    sleep 100 & kill -STOP $!; sleep 0.2; kill -CONT $!; sleep 0.2; kill $!; wait $!; echo $?
    """
    process = start("--rules", rule(EVERYTHING, pulse=False), "--", "bash", "-c", script)
    out, err = process.communicate(timeout=30)
    assert (out.split(), process.returncode) == (["A", "B", "143"], 0), err


def test_ctrl_z_at_a_terminal(rule):
    """An interactive shell: a program is stopped by the key, continued with fg, and interrupted."""
    words = ["run", "-q", "--rules", rule(PATH, pulse=False), "--", "bash", "--norc", "-i"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PS1": "ready> ", "TERM": "dumb"}
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [sys.executable, "-m", "notifyd", *words], environment)

    def until(text, seen=b""):
        end = time.monotonic() + 20
        while text not in seen:
            assert select.select([terminal], [], [], end - time.monotonic())[0], seen
            seen += os.read(terminal, 4096)

    # It says itself that it runs: what is typed before that is still for the shell's line editor.
    program = b"sh -c 'echo sta''rted; exec cat'"
    until(b"ready> ")
    for keys, answer in (
        (program + b"\n", b"started\r\n"),
        (b"echoed\n", b"echoed\r\nechoed\r\n"),
        (b"\x1a", b"Stopped"),
        (b"fg\n", b"fg\r\n" + program + b"\r\n"),
        (b"again\n", b"again\r\nagain\r\n"),
        (b"\x03", b"ready> "),
        (b"exit 5\n", b"exit"),
    ):
        os.write(terminal, keys)
        until(answer)
    assert os.waitpid(pid, 0)[1] == 5 << 8
    os.close(terminal)


def test_the_end_of_notifyd_ends_what_is_not_verified(place, rule, start):
    """Killed while calls are under way: nothing runs that nobody compared, and nothing is stuck."""
    line = (str(place / "program"), "way", "storm", "100000")
    process = start("--rules", rule(PATH, pulse=False), "--", *line, cwd=place)
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    until = time.monotonic() + 10
    while _traced_by_nobody(place) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [one for one in _traced_by_nobody(place) if one[1] == "t"]
    for pid, _ in _traced_by_nobody(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _traced_by_nobody(place):
    """Pid and state of what still runs a program of `place`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(place) in os.readlink(entry / "exe"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found.append((int(entry.name), state))
        except OSError:
            continue
    return found


def test_changes_and_grants_are_refused(place, rule, run):
    """The kernel executes: nothing can be put in the place of what was asked for."""
    text = """
    @on(Exec)
    def changes(call):
        return Allow(path="/bin/true") if call.pathname.endswith(b"program") else Allow()
    """
    line = ("/bin/sh", "-c", f"{place}/program; echo $?")
    ran = run("--rules", rule(text, pulse=False), "--", *line)
    assert ran.lines == ["126"]
    (refused,) = [event for event in ran.of("Exec") if event["verdict"] == "deny"]
    assert "nothing can be changed" in refused["reason"]
