"""`notifyd run` around a command: statuses, streams, signals, descendants."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from notifyd.kernel import pidfd

RULES = ("--rules", "audit-exec")


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
@pytest.mark.parametrize("rules", [("--rules", "no-network"), RULES])
def test_the_status_is_the_commands(rules, script, status, run):
    """N for an exit, 128 + n for a signal, with and without a listener."""
    assert run(*rules, "--", "sh", "-c", script).status == status


def test_streams_are_the_commands(run):
    """What goes in comes out, byte for byte, also a megabyte."""
    text = "0123456789abcdef\n" * 60_000
    ran = run(*RULES, "--", "sh", "-c", "cat; echo done >&2", text=text)
    assert (ran.out, ran.err, ran.status) == (text, "done\n", 0)


def test_a_reader_that_leaves_ends_the_command(run):
    """SIGPIPE has its default meaning, as natively."""
    ran = run(*RULES, "--", "bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}")
    assert ran.lines == ["y", "141"]


def test_descriptors_of_ours_stay_ours(run, native):
    """The command has the descriptors that it would have natively, and no other."""
    list_them = ("sh", "-c", "ls /proc/self/fd | wc -l")
    assert run(*RULES, "--", *list_them).out == native(*list_them).out


def test_descendants_are_supervised_to_the_last(run, tmp_path):
    """A daemon that outlives the command is still answered, and ends before notifyd does."""
    gate, proof = tmp_path / "gate", tmp_path / "proof"
    os.mkfifo(gate)
    script = f"(setsid sh -c 'read x; /bin/echo late >{proof}' <{gate} &) >/dev/null; "
    script += f"(echo go >{gate}) & exit 5"
    ran = run(*RULES, "--", "sh", "-c", script)
    assert (ran.status, proof.read_text()) == (5, "late\n")
    assert ["/bin/echo", "late"] in [event["args"]["argv"] for event in ran.of("Exec")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_notifyd_is_the_commands(number, start, tmp_path):
    """What is sent to notifyd alone reaches the command, whose handler decides the status."""
    name = signal.Signals(number).name.removeprefix("SIG")
    process = start(*RULES, "--", "bash", "-c", f"trap 'exit 9' {name}; echo up; read x")
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, number)
    process.wait(20)
    assert process.returncode == 9


def test_a_signal_ends_descendants_that_are_left(start):
    """When only background descendants are left, SIGTERM ends the run."""
    process = start(*RULES, "--", "sh", "-c", "sleep 1000 & echo $$ $!; read word; exit 3")
    pids = [int(pid) for pid in process.stdout.readline().split()]
    command, left = map(pidfd.open_process, pids)
    process.stdin.close()
    process.stdin = None
    while Path(f"/proc/{pids[1]}/comm").read_text() != "sleep\n":  # its execve is a trapped call
        time.sleep(0.01)
    try:
        assert select.select([command], [], [], 20)[0]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 3  # what the command itself ended with
        assert pidfd.alive(left)  # whoever is left goes on, and its trapped calls get ENOSYS
    finally:
        pidfd.send_signal(left, signal.SIGKILL)
        os.close(left)
        os.close(command)


class Person:
    """Somebody at a terminal, with notifyd as the only program on it."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execve(words[0], words, environment)

    def expect(self, text: bytes) -> None:
        """Wait until that is shown."""
        while text not in self.seen:
            assert select.select([self.fd], [], [], 20)[0], self.seen
            self.seen += os.read(self.fd, 4096)

    def status(self) -> int:
        """The exit status, when it has ended."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("trap 'echo caught; exit 42' INT; echo up; while :; do sleep 0.1; done", 42),
        ("echo up; exec sleep 1000", 130),
        ("trap '' INT; echo up; read x; echo caught; exit 4", 4),
    ],
)
def test_control_c_is_the_commands(script, status):
    """Ctrl-C in a real terminal reaches the command once, and its status is notifyd's."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    words = [sys.executable, "-m", "notifyd", "run", "-q", *RULES, "--", "bash", "-c", script]
    person = Person(words, environment)
    person.expect(b"up\r\n")
    os.write(person.fd, b"\x03")
    if "''" in script:
        os.write(person.fd, b"\n")
    if "caught" in script:
        person.expect(b"caught\r\n")
    assert person.status() == status
    assert person.seen.count(b"caught\r\n") <= 1
