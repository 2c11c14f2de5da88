"""`notifyd profile`: options, bases, and complaints of one line."""

import errno
import json
import os

import pytest

from notifyd.bpf.oci.check import compile_oci
from notifyd.bpf.oci.profile import read
from notifyd.bpf.profile import errno_action
from notifyd.bpf.simulate import Machine
from notifyd.container import base
from notifyd.kernel.arch import entries, native

DEVICES = ("profile", "--rules", "harmless-devices")


def test_a_profile(notifyd):
    """The engines' default, with the calls of the rules and the listener."""
    said = notifyd(*DEVICES, "--metadata", "text")
    profile = json.loads(said.out)
    assert said.status == 0
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["listenerPath"] == "/run/notifyd/oci.sock"
    assert profile["listenerMetadata"] == "text"
    assert ["mknod"] in [
        one["names"] for one in profile["syscalls"] if one["action"] == "SCMP_ACT_NOTIFY"
    ]
    assert "SCMP_ARCH_X32 is left out" in said.err


def test_what_rules_print_is_no_part_of_it(notifyd, tmp_path):
    """It goes where complaints go."""
    rules = tmp_path / "r.py"
    rules.write_text('"""Prints."""\nfrom notifyd import *\nprint("hello")\nalways(Deny(1), Bpf)\n')
    said = notifyd("profile", "--rules", str(rules))
    assert json.loads(said.out)["syscalls"]
    assert "hello" in said.err


def test_a_file_as_base_and_as_output(notifyd, tmp_path):
    """A profile that was written can be the next one's base, with the same listener."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    words = ("--flag", "SECCOMP_FILTER_FLAG_LOG", "--listener", "/run/other.sock")
    assert notifyd(*DEVICES, "--base", "none", *words, "--output", str(first)).out == ""
    words = ("--base", str(first), "--listener", "/run/other.sock", "--output", str(second))
    assert notifyd("profile", "--rules", "audit-exec", *words).status == 0
    found = read(second.read_bytes(), "second")
    assert found.flags == ("SECCOMP_FILTER_FLAG_LOG",)
    assert found.listener_path == "/run/other.sock"


def test_capabilities_of_the_containers(notifyd):
    """The base allows more to a container that has more."""

    def allowed(*words):
        entries = json.loads(notifyd(*DEVICES, *words).out)["syscalls"]
        return {n for one in entries if one["action"] == "SCMP_ACT_ALLOW" for n in one["names"]}

    assert "bpf" not in allowed()
    assert "bpf" in allowed("--cap", "sys_admin")


def test_rules_that_never_ask(notifyd):
    """Have no listener, and say so."""
    said = notifyd("profile", "--rules", "no-network", "--base", "none")
    assert "listenerPath" not in json.loads(said.out)
    assert "no call leaves the kernel" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("profile",), "--rules"),
        (("profile", "--rules", "no-netwrok"), "'no-network'"),
        ((*DEVICES, "--base", "/none.json"), f"--base /none.json: {os.strerror(errno.ENOENT)}"),
        ((*DEVICES, "--cap", "all"), "--cap all: no such capability"),
        ((*DEVICES, "--listener", "oci.sock"), "--listener oci.sock: give an absolute path"),
        ((*DEVICES, "--listener", "/" + "x" * 107), "more than 107 bytes"),
        ((*DEVICES, "--flag", "LOG"), "--flag"),
        ((*DEVICES, "--option", "to"), "NAME=VALUE"),
        ((*DEVICES, "--output", "/none/x.json"), f"{os.strerror(errno.ENOENT)}: give another path"),
        (("profile", "--rules", "readonly", "--base", "none"), "does not know"),
    ],
)
def test_a_mistake(notifyd, words, told):
    """One line with the remedy, and nothing written."""
    said = notifyd(*words)
    assert (said.status, said.out) == (2, "")
    assert told in said.err
    assert len([line for line in said.err.splitlines() if "left out" not in line]) <= 4


def test_no_engine_here(notifyd, monkeypatch, tmp_path):
    """What to install, or what to give instead."""
    monkeypatch.setattr(base, "DEFAULTS", (tmp_path / "a", tmp_path / "b"))
    said = notifyd(*DEVICES)
    assert said.status == 2
    assert "install containers-common" in said.err
    assert "config.json" in said.err


HALVES = """
import errno
from notifyd import *
no = Deny(errno.EACCES)
always(no, Ptrace, request=16)
always(no, Unshare, flags=has(0x04000000))
always(no, Prctl, option=8, arg2=1)
always(no, Raw("setpriority"), arg1=-2)
always(no, ProcessVm, flags=0)
"""


@pytest.mark.skipif(native().name != "x86_64", reason="i386 is an entry of x86-64")
def test_the_upper_halves_of_registers(notifyd, tmp_path):
    """What a runtime compiles of it looks at the bits that count, on both entries."""
    rules = tmp_path / "halves.py"
    rules.write_text(HALVES)
    said = notifyd("profile", "--rules", str(rules), "--base", "none")
    assert "SCMP_ARCH_X86 is left out" not in said.err
    machine = Machine(compile_oci(read(said.out.encode(), "made")))
    refused = errno_action(errno.EACCES).value
    calls = {"ptrace": (16,), "prctl": (8, 1), "unshare": (0x04000000,), "process_madvise": ()}
    calls["setpriority"] = (0, 0xFFFFFFFE)
    ints = {("prctl", 0), ("setpriority", 0), ("setpriority", 1), ("process_madvise", 4)}
    for arch in entries(native()):
        for name, given in calls.items():
            for rubbish in (0, 1 << 32, 0xFFFFFFFF << 32):
                args = [*given, *[0] * (6 - len(given))]
                args = [
                    one | (rubbish if arch.bits == 32 or (name, at) in ints else 0)
                    for at, one in enumerate(args)
                ]
                assert machine.run(arch.audit, arch.numbers[name], args) == refused, (arch, name)
