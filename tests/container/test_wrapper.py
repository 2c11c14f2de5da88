"""How notifyd-runtime understands a runtime's command line, and which runtime it becomes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.container.wrapper import RuntimeCommandLine, WrapperError, find_runtime, parse

WRAPPER = str(Path(sys.executable).with_name("notifyd-runtime"))
SHIM = "--root /run/r --log /b/log.json --log-format json"
HERE = Path("config.json")
LOGGED = ("/b/log.json", True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            f"{SHIM} create --bundle /b --pid-file /p c",
            RuntimeCommandLine("create", *LOGGED, Path("/b") / HERE),
        ),
        (
            f"{SHIM} --systemd-cgroup create -b /b c",
            RuntimeCommandLine("create", *LOGGED, Path("/b") / HERE),
        ),
        (f"{SHIM} state c", RuntimeCommandLine("state", *LOGGED, HERE)),
        (
            "--log=/l --debug run --bundle=/b -d c",
            RuntimeCommandLine("run", "/l", False, Path("/b") / HERE),
        ),
        ("-root /r run -bundle /b c", RuntimeCommandLine("run", "", False, Path("/b") / HERE)),
        (
            "--cgroup-manager=systemd run -b/b c",
            RuntimeCommandLine("run", "", False, Path("/b") / HERE),
        ),
        ("--cgroup-manager systemd run c", RuntimeCommandLine("run", "", False, HERE)),
        ("run -b /b -f other.json c", RuntimeCommandLine("run", "", False, Path("/b/other.json"))),
        ("--root /r -- run -b /b c", RuntimeCommandLine("run", "", False, Path("/b") / HERE)),
        ("--root create state c", RuntimeCommandLine("state", "", False, HERE)),
        ("exec c sh -b /x", RuntimeCommandLine("exec", "", False, Path("/x") / HERE)),
        ("--new-option kill c", RuntimeCommandLine("kill", "", False, HERE)),
        ("--version", RuntimeCommandLine()),
        ("", RuntimeCommandLine()),
    ],
)
def test_a_command_line(line, words):
    """The command, its bundle, and where errors go."""
    assert parse(line.split()) == words


def test_an_unknown_option_before_a_start():
    """It may have a value; a container must not slip through as if that were the command."""
    for line in ("--new create run --bundle /b c", "--new=1 create c"):
        with pytest.raises(WrapperError, match="--new"):
            parse(line.split())


@pytest.fixture
def fake(tmp_path):
    """A program that tells with which arguments it was called."""

    def make(name):
        path = tmp_path / name
        path.write_text('#!/bin/sh\necho "${0##*/}" "$@"\n')
        path.chmod(0o755)
        return path

    return make


def call(*words, **environment):
    return subprocess.run(
        [WRAPPER, *words], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_all_other_commands_go_straight_through(fake, tmp_path):
    """With the very same arguments; to what is named, or to what is found first."""
    fake("crun")
    words = ["--root", "/r", "state", "a b"]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    none = {"NOTIFYD_RUNTIME_CONFIG": str(tmp_path / "none")}
    ran = call(*words, **(path | none | {"PATH": f"{tmp_path}:/bin/none"}))
    assert ran.stdout == "crun --root /r state a b\n"
    other = fake("other")
    assert call(*words, NOTIFYD_RUNTIME=str(other), **path).stdout.startswith("other --root")
    settings = tmp_path / "runtime.toml"
    settings.write_text(f'runtime = "{other}"\n')
    assert call("x", NOTIFYD_RUNTIME_CONFIG=str(settings), **path).stdout == "other x\n"


@pytest.mark.parametrize("command", ["state", "create"])
def test_settings_that_others_may_write(fake, tmp_path, command):
    """They name a program that root runs: they are nothing to obey."""
    settings = tmp_path / "runtime.toml"
    settings.write_text(f'runtime = "{fake("other")}"\n')
    settings.chmod(0o666)
    ran = call(command, "c", NOTIFYD_RUNTIME_CONFIG=str(settings), PATH="/usr/bin:/bin")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"notifyd-runtime: {settings}: others may write it: chmod go-w {settings}\n"
    )


def test_a_runtime_that_is_not_there(tmp_path):
    """It says where one can be named, on standard error and in the log."""
    log = tmp_path / "log"
    words = ("--log", str(log), "--log-format", "json", "state", "c")
    ran = call(*words, PATH=str(tmp_path), NOTIFYD_RUNTIME_CONFIG=str(tmp_path / "x.toml"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no runc or crun here: install one, or name it in" in ran.stderr
    assert json.loads(log.read_text())["msg"] == ran.stderr.strip()


def test_an_error_is_one_line_that_moves_nothing(fake, tmp_path):
    """A name or an annotation may have anything in it; it is shown, on the terminal and in logs."""
    log = tmp_path / "log"
    (tmp_path / "config.json").write_text('{"annotations": {"org.notifyd.a\\u001b[31m\\nb": "c"}}')
    words = ("--log", str(log), "run", "--bundle", str(tmp_path), "c")
    none = {"NOTIFYD_RUNTIME_CONFIG": str(tmp_path / "none")}
    ran = call(*words, NOTIFYD_RUNTIME=str(fake("runc")), **none)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(r"notifyd-runtime: org.notifyd.a\x1b[31m b: no such annotation;")
    assert (ran.stderr + log.read_text()).replace("\n", "").isprintable()
    missing = call("create", "--bundle", str(tmp_path / "\x1b"), "c", PATH="/usr/bin:/bin", **none)
    path = f"{tmp_path}/\\x1b/config.json"
    assert missing.stderr == f"notifyd-runtime: {path}: {os.strerror(errno.ENOENT)}\n"


def test_the_wrapper_is_not_its_own_runtime(monkeypatch):
    """It would call itself for ever."""
    monkeypatch.setenv("NOTIFYD_RUNTIME", sys.argv[0])
    monkeypatch.setattr("os.access", lambda *_: True)
    with pytest.raises(WrapperError, match="notifyd-runtime itself"):
        find_runtime()


def test_only_what_starts_containers_imports_much():
    """An engine calls its runtime many times for one container."""
    text = "import sys, notifyd.container.wrapper; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=30
    )
    assert not {"click", "trio", "pyseccomp", "structlog"} & set(ran.stdout.split())
