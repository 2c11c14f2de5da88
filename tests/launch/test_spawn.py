"""Starting commands behind filters, on the real kernel."""

import errno
import os
import re
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from notifyd.kernel import seccomp
from notifyd.launch.command import CannotStart
from notifyd.launch.signals import SignalState
from notifyd.launch.spawn import spawn
from notifyd.launch.spawned import Spawned
from notifyd.launch.user import User

Start = Callable[..., Spawned]
Finish = Callable[[Spawned], tuple[int, list[str]]]
Run = Callable[..., object]

EVERY = pytest.mark.parametrize("calls", ["none", "getppid", "all"])


@EVERY
@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 128 + 15)])
def test_the_status_is_the_one_a_shell_shows(
    start: Start, finish: Finish, calls: str, script: str, status: int
) -> None:
    """An exit status, or 128 and the signal, whatever the filter traps."""
    assert finish(start(["sh", "-c", script], calls))[0] == status


def test_the_listener_comes_though_every_call_is_trapped(start: Start, finish: Finish) -> None:
    """Nothing of ours is ever trapped: the first call a supervisor sees is the command's execve."""
    spawned = start(["true"], "all")
    assert not os.get_inheritable(spawned.listener)
    status, seen = finish(spawned)
    assert (status, seen[0], seen.count("execve")) == (0, "execve", 1)


@pytest.mark.parametrize("calls", ["sendmsg", "write", "futex", "close", "execve", "exit_group"])
def test_each_call_of_a_handover_may_be_trapped(start: Start, finish: Finish, calls: str) -> None:
    """None of those that usually carry a listener needs an exemption."""
    status, seen = finish(start(["true"], calls))
    assert status == 0
    assert set(seen) <= {calls}


def test_a_large_environment_is_executed_without_another_call(
    start: Start, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for the arguments was rehearsed before the filter."""
    for number in range(300):
        monkeypatch.setenv(f"NOTIFYD_{number}", "x" * 1000)
    assert finish(start(["true", *["y" * 1000] * 200], "all"))[1][0] == "execve"


def test_an_execve_that_fails_under_the_filter_is_told(start: Start, finish: Finish) -> None:
    """The errno arrives, and the status is env's: here the interpreter does not exist."""
    script = Path("/tmp") / f"notifyd-test-{os.getpid()}"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    try:
        for calls in ("none", "execve", "all"):
            spawned = start([str(script)], calls)
            assert finish(spawned)[0] == 127
            failure = spawned.exec_error()
            assert failure is not None
            assert failure.errno == errno.ENOENT
    finally:
        script.unlink()


def test_a_refused_execve_is_told(start: Start, finish: Finish) -> None:
    """What a rule answers is what `exec_error` says; nobody waited for it before."""
    from notifyd.kernel.unotify import Notifier

    spawned = start(["true"], "execve")
    assert spawned.exec_error() is None
    assert spawned.listener is not None
    notifier = Notifier(spawned.listener)
    notifier.respond(notifier.receive()[0], 0, -errno.EPERM, 0)
    assert select.select([spawned.exec_status], [], [], 20)[0]
    assert isinstance(spawned.exec_error(), PermissionError)
    assert finish(spawned)[0] == 126


def test_success_shows_as_readable_without_an_error(start: Start, finish: Finish) -> None:
    """After an execve that worked there is nothing to be told."""
    spawned = start(["true"], "getppid")
    assert select.select([spawned.exec_status], [], [], 20)[0]
    assert spawned.exec_error() is None
    assert finish(spawned)[0] == 0


def test_a_script_without_a_first_line_is_given_to_the_shell(
    start: Start, finish: Finish, tmp_path: Path
) -> None:
    """As execvp(3) and env(1) do."""
    script = tmp_path / "script"
    script.write_text('test "$1" = one && exit 5\n')
    script.chmod(0o755)
    status, seen = finish(start([str(script), "one"], "execve"))
    assert (status, seen) == (5, ["execve", "execve"])


@EVERY
@pytest.mark.parametrize(
    ("name", "status"),
    [("no-such-command", 127), ("/no/such", 127), ("/etc", 126), ("/etc/passwd", 126), ("", 127)],
)
def test_what_cannot_start_is_said_before_anything_runs(
    start: Start, calls: str, name: str, status: int
) -> None:
    """The error names the command, fits on a line and has the status; nothing is left."""
    with pytest.raises(CannotStart) as caught:
        start([name], calls)
    assert caught.value.status == status
    assert str(caught.value).startswith(name + ": ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", [[], ["true", "a\0b"]])
def test_a_command_that_is_none_is_a_usage_error(start: Start, command: list[str]) -> None:
    """Nothing to run, or something that execve cannot be given."""
    with pytest.raises(CannotStart) as caught:
        start(command)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("code", "flags"), [(b"\xff" * 8, 8), (b"", 8), (b"", 0), (b"\xff" * 8, 64)]
)
def test_a_filter_that_the_kernel_refuses_is_told(code: bytes, flags: int) -> None:
    """EINVAL comes back from the child, and the child is gone."""
    with pytest.raises(CannotStart, match="install the filter"):
        spawn(["true"], code, flags=flags)


def test_a_second_listener_is_refused_with_a_remedy(run: Run) -> None:
    """A supervisor inside a supervisor: EBUSY in words, status 2."""
    import sys

    inner = Path(__file__).with_name("supervisor.py")
    done = run("getppid", sys.executable, str(inner), "getppid", "true")
    assert done.returncode == 2
    assert b"another seccomp supervisor" in done.stderr


def test_a_filter_that_kills_shows_as_sigsys(finish: Finish) -> None:
    """A program that kills on every call ends the command at its execve."""
    import struct

    code = struct.pack("=HBBI", 0x06, 0, 0, seccomp.RET_KILL_PROCESS)
    for flags in (0, seccomp.FILTER_FLAG_NEW_LISTENER):
        with spawn(["true"], code, flags=flags) as spawned:
            assert finish(spawned)[0] == 128 + signal.SIGSYS


def test_no_descriptor_but_the_inherited_ones(start: Start, finish: Finish) -> None:
    """Those of the caller that are inheritable arrive under their numbers, and no others."""
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    reader, writer = os.pipe()
    out = os.dup(1)
    try:
        os.dup2(writer, 1)
        spawned = start(["ls", "/proc/self/fd"], "all")
    finally:
        os.dup2(out, 1)
        os.close(out)
        os.close(writer)
    finish(spawned)
    with os.fdopen(reader, "rb") as file:
        numbers = {int(number) for number in file.read().split()}
    ours = {int(number) for number in os.listdir("/proc/self/fd")}
    expected = {0, 1, 2, inherited} | {fd for fd in ours if _inheritable(fd)}
    os.close(inherited)
    assert len(numbers - expected) == 1  # the directory that ls itself opened
    assert expected <= numbers


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


@EVERY
def test_signals_and_environment_are_as_without_us(run: Run, calls: str) -> None:
    """Blocked, ignored and caught signals, and every variable, as a native run has them."""
    import subprocess

    before = ("env", "-i", "--default-signal", "--ignore-signal=HUP", "--ignore-signal=CHLD")
    before += ("--block-signal=USR2",)
    before += ("PATH=/bin:/usr/bin", "A=1", "PYTHONPATH=" + str(_root()))
    for look in (("grep", "^Sig...:", "/proc/self/status"), ("cat", "/proc/self/environ")):
        native = subprocess.run([*before, *look], capture_output=True, check=True)
        done = run(calls, *look, before=before)
        assert (done.stderr, done.stdout) == (b"", native.stdout)
    status = subprocess.run([*before, "cat", "/proc/self/status"], capture_output=True)
    # Signals 32 and 33 are the C library's own; some parents (make) leave them ignored.
    assert re.search(rb"SigBlk:\t0+800\nSigIgn:\t0+(8|18)?0+10001\n", status.stdout)


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


def test_the_state_of_signals_can_be_handed_over(start: Start, finish: Finish) -> None:
    """`signals` decides, and not what the calling thread has at the moment."""
    state = SignalState(frozenset({signal.SIGUSR1}), frozenset({signal.SIGUSR2}))
    pattern = r"SigBlk:\s0*200\nSigIgn:\s0+(8|18)?0+800\n"
    look = ["grep", "-qzP", pattern, "/proc/self/status"]
    assert finish(start(look, "getppid", signals=state))[0] == 0


def test_the_caller_keeps_its_signals(start: Start, finish: Finish) -> None:
    """Neither mask nor handlers of the parent change."""
    before = SignalState.current(), signal.getsignal(signal.SIGINT)
    finish(start(["true"], "all"))
    assert (SignalState.current(), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.root
@EVERY
def test_root_becomes_the_user_for_good(start: Start, finish: Finish, calls: str) -> None:
    """Ids, groups, variables and no_new_privs; no capability is left."""
    script = """test "$(id -un) $(id -gn) $(id -Gn)" = "nobody nogroup nogroup" &&
    test "$USER $LOGNAME" = "nobody nobody" && grep -q 'NoNewPrivs:.1' /proc/self/status &&
    grep -q 'CapEff:.0000000000000000' /proc/self/status"""
    spawned = start(["sh", "-c", script], calls, user=User.parse("nobody"))
    assert finish(spawned)[0] == 0


@pytest.mark.root
def test_root_without_a_user_keeps_the_way_to_privileges(start: Start, finish: Finish) -> None:
    """With CAP_SYS_ADMIN no_new_privs is not needed, and set-user-ID programs go on working."""
    spawned = start(["grep", "-q", "NoNewPrivs:.0", "/proc/self/status"], "getppid")
    assert finish(spawned)[0] == 0


@pytest.mark.root
def test_path_is_searched_with_the_rights_of_the_user(start: Start, tmp_path: Path) -> None:
    """What only root can reach is not found for somebody else."""
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    with pytest.raises(CannotStart) as caught:
        start([str(tool)], "getppid", user=User.parse("nobody"))
    assert caught.value.status == 126


@pytest.mark.root
@EVERY
def test_an_ordinary_user_needs_no_privileges(supervisor: object, calls: str) -> None:
    """Everything works without root, with no_new_privs set for the command."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            User.parse("nobody").assume()
            status = _spawn_and_finish(supervisor, calls)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def _spawn_and_finish(supervisor: object, calls: str) -> int:
    flags = 0 if calls == "none" else seccomp.FILTER_FLAG_NEW_LISTENER
    script = "grep -q NoNewPrivs:.1 /proc/self/status && exit 3"
    with spawn(["sh", "-c", script], supervisor.program(calls), flags=flags) as spawned:
        if spawned.listener is not None:
            trio.run(supervisor.answer, spawned.listener)
        select.select([spawned.pidfd], [], [], 20)
        return spawned.reap() or 0


def test_a_full_table_is_our_own_failure(program: Callable[[str], bytes]) -> None:
    """EMFILE is no usage error, and leaves neither child nor descriptor, wherever it strikes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held, outcomes = [], set()
    try:
        while len(os.listdir("/proc/self/fd")) < 64:  # listing takes one itself
            held.append(os.dup(0))
        held.append(os.dup(0))
        for _ in range(8):
            outcomes.add(_outcome(program("getppid")))
            os.close(held.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)
    assert outcomes == {0, errno.EMFILE}


def _outcome(code: bytes) -> int:
    try:
        with spawn(["true"], code, flags=seccomp.FILTER_FLAG_NEW_LISTENER) as spawned:
            os.kill(spawned.pid, signal.SIGKILL)
            os.waitpid(spawned.pid, 0)
    except OSError as error:
        return error.errno or -1
    return 0


def test_it_works_from_a_thread_of_trio(start: Start, finish: Finish) -> None:
    """Where trio runs, spawning may be given to a thread; nothing wakes trio by mistake."""

    async def main() -> Spawned:
        return await trio.to_thread.run_sync(start, ["sh", "-c", "exit 4"], "all")

    assert finish(trio.run(main))[0] == 4


def test_many_in_a_row_leave_nothing(start: Start, finish: Finish) -> None:
    """No descriptor, no zombie courier (the fixture looks)."""
    for _ in range(30):
        spawned = start(["true"], "all")
        assert finish(spawned)[0] == 0
        spawned.close()
