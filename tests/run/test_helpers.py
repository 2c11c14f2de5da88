"""Helpers do calls in the target's place: it cannot reach them, see them, or pile them up."""

import os
import socket
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from notifyd.perform.helpers import HELPER_IDLE_TIMEOUT_S, MAX_HELPERS

pytestmark = pytest.mark.root

PERFORMS = """
@on(Mkdir)
def performs(call):
    assert call.path
    return Allow()
"""
LOOKS = """
@on(Open, Stat, ReadLink)
def looks(call):
    _ = call.{name}
    return Allow()
"""
OPENS = """
@on(Open, flags=has(os.O_WRONLY))
def opens(call):
    assert call.path
    return Allow()
"""
AS_ROOT, AS_NOBODY = (), ("--user", "nobody")
PATIENCE = 30.0  # seconds for what should take one


def of_notifyd(pid):
    """The pids of notifyd's own processes: itself, the zygote and the helpers; no zombies."""
    children = {}
    names = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            head, _, tail = text.rpartition(")")
            state, parent = tail.split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(entry))
                names[int(entry)] = head.partition("(")[2]
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        if names.get(one) == names.get(pid):  # the command and what it starts have other names
            found.append(one)
            todo += children.get(one, [])
    return found


def until(condition):
    """Look until it holds; fails if it does not within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "still not so"
        os.sched_yield()


@pytest.mark.parametrize("where", ["user", "namespace"])
def test_a_target_cannot_look_into_a_helper(where, build, rule, run, here):
    """Memory, descriptors, links: closed, even with all powers in its own namespace."""
    ran = run(*AS_NOBODY, "--rules", rule(PERFORMS), "--", build("reach"), where, "look", cwd=here)
    assert (ran.status, ran.lines) == (7, ["seen 1", "again 0"])


def test_a_target_cannot_disturb_a_helper(build, rule, run, here):
    """It cannot signal or limit one. It can make it slow, which makes its own calls slow."""
    ran = run(
        *AS_NOBODY, "--rules", rule(PERFORMS), "--", build("reach"), "user", "disturb", cwd=here
    )
    assert ran.status == 7
    assert set(ran.lines) <= {"sched_setaffinity", "setpriority", "seen 1", "again 0"}
    assert ran.lines[-2:] == ["seen 1", "again 0"]


@pytest.mark.parametrize("name", ["pathname", "path"])
@pytest.mark.parametrize("user", [AS_ROOT, AS_NOBODY], ids=["root", "nobody"])
def test_proc_self_is_the_target(user, name, build, rule, run, native, here):
    """/proc/self, /proc/thread-self, /dev/fd and /dev/stdin, by any way there, in two threads."""
    program = build("selves")
    before = () if not user else ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    with open("/dev/null") as null:
        expected = native(*before, program, cwd=here, stdin=null)
        assert expected.status == 7
        assert expected.lines.count("/proc/self same") == 2
        rules = rule(LOOKS.format(name=name), pulse=False)
        ran = run(*user, "--rules", rules, "--", program, cwd=here, stdin=null)
    differing = set(expected.lines).symmetric_difference(ran.lines)
    assert (ran.status, differing) == (7, set())
    assert ran.lines == expected.lines


STORM = (50, 20)  # mount namespaces, processes in each: a minute's work where all cores are busy


def test_a_storm_of_forks_in_many_namespaces(build, rule, start, here):
    """1,000 processes in 50 mount namespaces get right answers, and helpers stay within a bound."""
    (here / "here").mkdir()
    rules = rule(PERFORMS, pulse=False)
    process = start("--rules", rules, "--", build("storm"), *map(str, STORM), cwd=here)
    counts, over = [], threading.Event()

    def sample():
        while not over.wait(0.01):
            counts.append(len(of_notifyd(process.pid)))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        out, err = process.communicate(timeout=4 * 60)
    finally:
        over.set()
        sampler.join()
    assert (process.returncode, out, err) == (7, "wrong 0\n", "")
    assert len(counts) > 20
    assert 10 < max(counts) <= MAX_HELPERS + 2  # and notifyd itself, and the zygote


def test_a_helper_ends_with_its_target(build, rule, start, here):
    """A target is killed while a helper waits in its place: the helper goes too."""
    os.mkfifo(here / "fifo")
    rules = rule(OPENS, pulse=False)
    script = (
        "echo up; (exec sh -c 'echo x > fifo') & read go; kill -9 $!; wait; echo down; read end"
    )
    process = start("--rules", rules, "--", "sh", "-c", script, cwd=here)
    assert process.stdout.readline() == "up\n"
    until(lambda: len(of_notifyd(process.pid)) >= 3)
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "down\n"
    until(lambda: len(of_notifyd(process.pid)) <= 2)
    process.communicate("end\n", timeout=20)


def test_a_helper_without_work_ends(build, rule, start, here):
    """Helpers of a context that made its last call are ended though nobody calls any more."""
    rules = rule(PERFORMS, pulse=False)
    script = "unshare -m mkdir one; echo up; read end"
    process = start("--rules", rules, "--", "sh", "-c", script, cwd=here)
    assert process.stdout.readline() == "up\n"
    assert len(of_notifyd(process.pid)) >= 3
    assert HELPER_IDLE_TIMEOUT_S < PATIENCE / 2
    until(lambda: len(of_notifyd(process.pid)) <= 2)
    process.communicate("end\n", timeout=20)


def test_no_way_out_through_the_helpers_own_proc(build, rule, run, native, tmp_path):
    """A process may look into itself; a target may not have that done by a helper, or by notifyd.

    Whatever a helper holds or notifyd sees is outside of the target's root.
    """
    looks = """
    @on(Open, Connect)
    def looks(call):
        _ = call.path
        return Allow()
    """
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for one in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        one.chmod(one.stat().st_mode | 0o055)
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        os.chmod(short, 0o755)
        server.bind(f"{short}/s")
        os.chmod(f"{short}/s", 0o777)
        server.listen(50)
        lines = []
        for runner in (partial(run, "--rules", rule(looks), "--"), native):
            jail = tmp_path / f"jail{len(lines)}"
            jail.mkdir()
            lines.append(runner(build("wayout"), str(jail), f"{short}/s", str(secret)).lines)
    assert lines == [["looked at many"]] * 2
