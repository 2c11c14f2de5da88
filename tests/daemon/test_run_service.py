"""`notifyd run --service`: started here, supervised by a daemon, root's or one's own."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from notifyd.intake.handover import ask_program
from notifyd.intake.native_wire import NativeReply

pytestmark = pytest.mark.usefixtures("whole")  # starts notifyd as a command

ROOT = Path(__file__).resolve().parents[2]
NOBODY, OTHER = 65534, 1
CONFIGURATION = """
[sockets.native]
path = "{here}/native.sock"
mode = "0666"
users = "any"
[[workload]]
name = "plugins"
rules = ["no-network", "fake-hostname"]
options.name = "elsewhere"
match.user = 65534
[[workload]]
name = "admin"
rules = ["harmless-devices"]
match.user = 0
"""


def _command(service, *words: str) -> list[str]:
    socket = service if isinstance(service, str) else service.path("native")
    return [sys.executable, "-m", "notifyd", "run", f"--service={socket}", *words]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _run(service, *words: str, user: int | None = NOBODY) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(service, *words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        env=_environment(),
    )


@pytest.mark.root
def test_a_user_under_roots_daemon(serve):
    """The daemon decides, by its configuration; status and output are the user's."""
    service = serve(CONFIGURATION)
    done = _run(service, "--", "sh", "-c", "uname -n; id -u; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (f"elsewhere\n{NOBODY}\n", "", 7)
    begun = service.wait_for("workload.started")
    assert (begun["section"], begun["arrival"]) == ("plugins", "native")
    assert f"uid {NOBODY}" in begun["peer"]
    assert service.wait_for("workload.ended", workload=begun["workload"])["calls"] >= 1
    call = service.wait_for("call", operation="Uname")
    assert (call["workload"], call["uid"]) == (begun["workload"], NOBODY)


@pytest.mark.root
def test_what_the_kernel_decides(serve):
    """What `always` says is in the program that the daemon gave."""
    service = serve(CONFIGURATION)
    done = _run(service, "--", sys.executable, "-c", "import socket; socket.socket()")
    assert "PermissionError" in done.stderr
    assert done.returncode == 1


@pytest.mark.root
def test_a_user_cannot_choose(serve):
    """Not another's section, none at all, and none by options; nothing was started."""
    service = serve(CONFIGURATION)
    for words, user, said in [
        (("--section", "admin"), NOBODY, "no section 'admin' that is for"),
        ((), OTHER, "no section of the configuration is for"),
        (("--section", "none"), 0, "no section 'none' that is for"),
        (("--rules", "no-network"), NOBODY, "--rules is not for --service"),
        (("--strict",), NOBODY, "--strict is not for --service"),
        (("--otherwise=allow",), NOBODY, "--otherwise is not for --service"),
    ]:
        done = _run(service, *words, "--", "echo", "started", user=user or None)
        assert (done.stdout, done.returncode) == ("", 2), done
        (line,) = done.stderr.splitlines()
        assert said in line
    assert service.events("workload.started") == []


@pytest.mark.root
def test_a_user_cannot_lie(serve, tmp_path):
    """A filter of the user's own is taken, but nothing that its sender says of it is believed."""
    service = serve(CONFIGURATION)
    code = """
import os, sys, time
from notifyd import handover
from notifyd.intake.handover import ask_program
from notifyd.kernel import prctl
from notifyd.kernel.seccomp import install
offer = ask_program(id="honest", path=sys.argv[1])
assert offer.section == "plugins", offer
prctl.set_no_new_privs()
child = os.fork()
if not child:
    time.sleep(60)
listener = install(offer.filter, 8)
pid = os.fork()
if not pid:
    print(os.uname().nodename, flush=True)
    os._exit(0)
done = handover(listener, id="liar", path=sys.argv[1], pid=1, program=offer.digest, killable=True)
print(done.workload, done.section, flush=True)
os.waitpid(pid, 0)
os.kill(child, 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, service.path("native")],
        capture_output=True,
        text=True,
        timeout=60,
        user=NOBODY,
        env=_environment(),
    )
    assert (sorted(done.stdout.splitlines()), done.returncode) == (
        ["elsewhere", "liar plugins"],
        0,
    ), done.stderr
    assert service.wait_for("workload.started", workload="liar").get("pid") is None


@pytest.mark.root
def test_what_only_the_daemon_wants_to_know(serve):
    """It goes on, also where no rule allows it and everything else is refused; no event tells."""
    service = serve(CONFIGURATION.replace("options.name", 'otherwise = "deny"\noptions.name'))
    for user in (NOBODY, 0):
        words = ("--", "sh", "-c", "uname -n")
        section = () if user else ("--section", "admin")
        done = _run(service, *section, *words, user=user or None)
        assert done.returncode == 0, done.stderr
    assert service.wait_for("call", uid=NOBODY)["operation"] == "Uname"
    service.stop()
    assert {event["operation"] for event in service.events("call")} == {"Uname"}


@pytest.mark.root
def test_not_everybody_may(serve):
    """Whom the configuration does not name is told so."""
    service = serve(CONFIGURATION.replace('"any"', "[65534]"))
    assert _run(service, "--", "true").returncode == 0
    done = _run(service, "--", "echo", "started", user=OTHER)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "may not use this socket; sockets.native.users of the configuration" in done.stderr


def test_ones_own_daemon(serve):
    """Found by the environment; whoever runs the daemon may use it."""
    service = serve(CONFIGURATION.replace("65534", str(os.getuid() or 0)))
    words = [sys.executable, "-m", "notifyd", "run", "--service", "--", "uname", "-n"]
    environment = {**_environment(), "NOTIFYD_SOCKET": service.path("native")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("elsewhere\n", "", 0)


@pytest.mark.root
def test_a_users_own_daemon():
    """A daemon that an ordinary user runs supervises that user's commands."""
    with tempfile.TemporaryDirectory(prefix="nd-") as name:
        folder = Path(name)
        os.chown(folder, NOBODY, NOBODY)
        (folder / "n.toml").write_text(CONFIGURATION.replace("{here}", name))
        os.chown(folder / "n.toml", NOBODY, NOBODY)
        daemon = subprocess.Popen(
            [sys.executable, "-m", "notifyd", "serve", "-c", str(folder / "n.toml")],
            stderr=subprocess.PIPE,
            text=True,
            user=NOBODY,
            group=NOBODY,
            env=_environment(),
        )
        try:
            assert any("ready: " in line for line in daemon.stderr)
            done = _run(f"{folder}/native.sock", "--", "sh", "-c", "uname -n; kill -TERM $$")
            assert (done.stdout, done.returncode) == ("elsewhere\n", 143), done.stderr
        finally:
            daemon.terminate()
            _, err = daemon.communicate(timeout=20)
        assert daemon.returncode == 0, err


def test_the_terminal_is_the_users(serve):
    """The command has it, with its size, and Ctrl-C reaches the command."""
    service = serve(CONFIGURATION.replace("65534", str(os.getuid())))
    script = "trap 'echo caught; exit 3' INT; test -t 0 && test -t 1 && echo terminal; "
    script += "while :; do sleep 0.1; done"
    pid, terminal = pty.fork()
    if not pid:
        words = _command(service, "--", "sh", "-c", script)
        os.execve(sys.executable, words, _environment())
    seen = b""
    end = time.monotonic() + 30
    while b"terminal" not in seen and time.monotonic() < end:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while True:
            seen += os.read(terminal, 1000)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert b"caught" in seen


@pytest.mark.root
def test_the_daemon_dies(serve):
    """What is decided by nobody any more fails, and does not wait for ever."""
    service = serve(CONFIGURATION)
    script = "uname -n; read dead; uname -n || echo refused"
    with subprocess.Popen(
        _command(service, "--", "sh", "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=NOBODY,
        env=_environment(),
    ) as command:
        assert command.stdout.readline() == "elsewhere\n"
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        out, _ = command.communicate("dead\n", timeout=30)
    # The command cannot even be executed any more: execve is among what was reported.
    assert "elsewhere" not in out


@pytest.mark.root
def test_somebody_elses_daemon():
    """Whoever decides what calls do has to be root, or oneself: nothing is even sent to others."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder, socket.socket(socket.AF_UNIX) as trap:
        os.chmod(folder, 0o755)
        trap.bind(f"{folder}/native.sock")
        os.chmod(f"{folder}/native.sock", 0o666)
        os.seteuid(OTHER)
        try:
            trap.listen()  # as of now it is theirs: SO_PEERCRED
        finally:
            os.seteuid(0)
        for user in (None, NOBODY):
            done = _run(f"{folder}/native.sock", "--", "echo", "started", user=user)
            assert (done.stdout, done.returncode) == ("", 2), done
            assert f"belongs to uid {OTHER}" in done.stderr
            with trap.accept()[0] as connection:
                assert connection.recv(100) == b""


def test_no_daemon(tmp_path):
    """Nobody is there: one line, and nothing was started."""
    done = _run(str(tmp_path / "none.sock"), "--", "echo", "started", user=None)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "no daemon listens at" in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "notifyd", "run", "--section", "x", "--", "true"],
        capture_output=True,
        text=True,
        env=_environment(),
    )
    assert (done.returncode, "--section is a daemon's" in done.stderr) == (2, True)


def test_no_such_command(serve):
    """As without a daemon: 127, 126."""
    service = serve(CONFIGURATION.replace("65534", str(os.getuid())))
    done = _run(service, "--", "no-such-command", user=None)
    assert (done.returncode, "no such command" in done.stderr) == (127, True)
    done = _run(service, "--", "/", user=None)
    assert done.returncode == 126


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"\x1b[31mred\n", "is not notifyd of this version"),
        (b'{"notifyd":1,"error":"\\u001b[2J\\nnotifyd: fine"}\n', r"\x1b[2J\x0anotifyd: fine"),
        (b'{"notifyd":1,"offer":{"section":"x","filter":"Z2FyYmFnZSE=","digest":"d",'
         b'"listens":true}}\n', "cannot install the filter"),
        (b"", "left without an answer"),
    ],
    ids=["garbage", "escapes", "no filter", "nothing"],
)  # fmt: skip
def test_what_a_daemon_says(reply, said):
    """Whatever it is: one harmless line, and nothing was started."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder, socket.socket(socket.AF_UNIX) as trap:
        trap.bind(f"{folder}/native.sock")
        trap.listen()
        with subprocess.Popen(
            _command(f"{folder}/native.sock", "--", "echo", "started"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        ) as command:
            with trap.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(reply)
            out, err = command.communicate(timeout=30)
    assert (out, command.returncode) == ("", 2), err
    (line,) = err.splitlines()
    assert said in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_daemon_that_hangs(serve, number):
    """Whoever waits for it can end that: the command and we get the signal."""
    service = serve(CONFIGURATION.replace("65534", str(os.getuid())))
    offer = ask_program(id="x", path=service.path("native"))
    with tempfile.TemporaryDirectory(prefix="nd-") as folder, socket.socket(socket.AF_UNIX) as trap:
        trap.bind(f"{folder}/native.sock")
        trap.listen()
        with subprocess.Popen(
            _command(f"{folder}/native.sock", "--", "echo", "started"),
            stdout=subprocess.PIPE,
            process_group=0,
            env=_environment(),
        ) as command:
            with trap.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(NativeReply(offer=offer).encode())
            with trap.accept()[0] as connection:
                assert b"handover" in connection.recv(4096)
                os.killpg(command.pid, number)
                assert command.wait(20) == 128 + number
            assert command.stdout.read() == b""
