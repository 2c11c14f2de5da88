"""The rules that ask: what they ask about, and that nothing happens where nobody can be asked."""

import errno
import os
import socket
from pathlib import PurePosixPath

import pytest

from notifyd import (
    Allow,
    Ask,
    Bpf,
    Chroot,
    Connect,
    Deny,
    Exec,
    Ioctl,
    IoUring,
    Open,
    Ptrace,
    Unlink,
)
from notifyd.testing import FakeProcess, load_rules, make_call, verdict_of

TOOL = FakeProcess(exe=PurePosixPath("/usr/bin/tool"))


def _to(address: str, port: int):
    host = f"[{address}]" if ":" in address else address
    return make_call(Connect, address=f"{host}:{port}", process=TOOL)


@pytest.mark.parametrize(
    ("address", "port", "free"),
    [
        ("192.0.2.7", 443, True),
        ("192.0.2.7", 80, False),
        ("198.51.100.9", 1, True),
        ("203.0.113.1", 443, False),
        ("2001:db8::7", 443, False),
    ],
)
def test_connections(address, port, free):
    """What is given is free; all else is a question with who and where."""
    rules = load_rules("ask-connect", to=("192.0.2.0/24:443", "198.51.100.0/24"))
    verdict = verdict_of(rules, _to(address, port))
    if free:
        assert verdict == Allow()
        return
    assert isinstance(verdict, Ask)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    assert verdict.question == f"/usr/bin/tool wants to connect to {where}"
    assert (verdict.key, verdict.otherwise) == (where, Deny(errno.EACCES))


def test_sockets_of_this_machine_are_free():
    """AF_UNIX never asks."""
    call = make_call(Connect, address="unix:/run/x.sock", process=TOOL)
    assert verdict_of(load_rules("ask-connect"), call) == Allow()


def test_programs(tmp_path):
    """The question has the whole command line, the key only the program."""
    program = tmp_path / "program"
    program.write_bytes(b"x")
    rules = load_rules("ask-exec", free=program)
    assert verdict_of(rules, make_call(Exec, path=program, argv=["program"])) == Allow()
    call = make_call(Exec, path="/usr/bin/ls", argv=["ls", "-l", "a b"], process=TOOL)
    verdict = verdict_of(rules, call)
    assert verdict.question == "/usr/bin/tool wants to execute /usr/bin/ls: ls -l 'a b'"
    assert verdict.key is None  # an answer is about the arguments, too
    long = make_call(Exec, path="/usr/bin/ls", argv=["ls", "x" * 100_000], process=TOOL)
    assert len(verdict_of(rules, long).question) < 500


def test_changes(tmp_path):
    """Writing and removing below the directory is a question; reading and elsewhere is not."""
    rules = load_rules("ask-write", below=tmp_path)
    flags = os.O_WRONLY | os.O_CREAT
    wanted = make_call(Open, path=tmp_path / "file", flags=flags, process=TOOL)
    verdict = verdict_of(rules, wanted)
    assert verdict.question == f"/usr/bin/tool wants to change {tmp_path}/file (open)"
    assert verdict.key == f"{tmp_path}/file"
    assert isinstance(
        verdict_of(rules, make_call(Unlink, path=tmp_path / "file", process=TOOL)), Ask
    )
    elsewhere = make_call(Open, path="/elsewhere", flags=flags)
    assert verdict_of(rules, elsewhere) == Allow()


@pytest.mark.parametrize("name", ["ask-exec", "ask-write"])
def test_ways_round_are_refused(name):
    """What would change the meaning of a path, or do without a call."""
    rules = load_rules(name, **{"below": "/etc"} if name == "ask-write" else {})
    for operation in (Bpf, Chroot, IoUring, Ptrace):
        assert isinstance(verdict_of(rules, make_call(operation)), Deny)
    typing = make_call(Ioctl, request=0x5412)
    assert verdict_of(rules, typing) == Deny(errno.EPERM)


def test_nobody_to_ask(python, run, tmp_path, monkeypatch):
    """Without a terminal they refuse, with the reason in the event; what is free goes on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    away = ("setsid", "--wait")  # from the terminal that the tests may have
    ran = run(["ask-exec"], "/bin/sh", "-c", "ls", before=away, free=os.path.realpath("/bin/sh"))
    assert ran.status == 126
    refused = [call for call in ran.calls if call["verdict"] == "ask"]  # by each name along PATH
    assert {call["args"]["path"] for call in refused} == {os.path.realpath("/bin/ls")}
    assert {call["errno"] for call in refused} == {"EACCES"}
    assert all("nobody can be asked" in call["reason"] for call in refused)
    code = f"open({str(tmp_path / 'x')!r}, 'w')"
    ran = run(["ask-write"], "python3", "-c", code, before=away, below=str(tmp_path))
    assert "PermissionError" in ran.err
    assert not (tmp_path / "x").exists()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        ran = run(["ask-connect"], "python3", "-c", code, before=away)
        assert "PermissionError" in ran.err
        ran = run(["ask-connect"], "python3", "-c", code, before=away, to="127.0.0.0/8")
        assert ran.status == 0, ran.err
