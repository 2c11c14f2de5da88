"""A profile that `notifyd profile` wrote, in force under real runtimes, with the daemon behind."""

import errno
import json
import os

import pytest
from containers import oci
from containers.runtime import wait_until
from devices import MADE, TRIES

from notifyd.bpf.oci.profile import KILLABLE
from notifyd.cli import main

pytestmark = pytest.mark.root

PROGRAMS = """
cp /bin/busybox /tmp/echo && /tmp/echo same
cp /bin/busybox /tmp/echo && echo more >>/tmp/echo
/tmp/echo other || echo refused
"""
SAID = "same\nrefused\n"


@pytest.fixture
def write(tmp_path, service):
    """What `notifyd profile` writes for a runtime and these words."""

    def written(runtime, *words):
        to = tmp_path / "profile.json"
        known = ["--listener", str(service.socket), "--runtime", runtime.real]
        main(["profile", *known, "--output", str(to), *words])
        return json.loads(to.read_text())

    return written


ENGINES = ("runc", "crun", "docker", "podman", "containerd")
BASES = [*((name, "docker") for name in ENGINES), ("runc", "none"), ("crun", "none")]


@pytest.mark.parametrize(("name", "base"), BASES)
def test_the_runtime_hands_the_listener_over(name, base, runtimes, service, write):
    """With its metadata; what the rules are about is asked, and all else is as it was."""
    runtime, name = runtimes(name), f"{name}-{base}"
    made = write(runtime, "--rules", "harmless-devices", "--metadata", "yes", "--base", base)
    script = f"{TRIES} && mknod /tmp/fifo p && stat -c %F /tmp/fifo"
    finished = runtime.run(script, made, name=name)
    assert (finished.stdout, finished.status) == (f"{MADE}fifo\n", 0), finished.stderr
    id_ = runtime.id_of(name)
    assert [one["metadata"] for one in service.arrivals(id_, 1)] == ["yes"]
    assert [one["verdict"] for one in service.calls(id_, 2)] == ["allow", "deny"]
    assert service.unheard(id_) == []


def test_what_is_executed_into_the_container_is_asked_about(oci_runtime, service, write):
    """By a listener of its own, with the same metadata."""
    made = write(oci_runtime, "--rules", "harmless-devices", "--metadata", "both")
    with oci_runtime.start(made) as container:
        finished = container.exec(["/bin/sh", "-c", TRIES])
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    told = service.arrivals(oci_runtime.id_of(container.name), 2)
    assert [one["metadata"] for one in told] == ["both", "both"]
    assert service.unheard(oci_runtime.id_of(container.name)) == []


def test_rules_that_the_kernel_decides_need_no_listener(oci_runtime, write):
    """Nobody is there to take one, and the container runs; the refusal is the kernel's."""
    made = write(oci_runtime, "--rules", "no-network")
    finished = oci_runtime.run("echo runs; nc 127.0.0.1 1", made)
    assert "listenerPath" not in made
    assert finished.stdout == "runs\n"
    assert os.strerror(errno.EACCES) in finished.stderr


@pytest.mark.parametrize("name", ["crun", "podman-crun"])
def test_programs_are_verified_in_a_container(name, runtimes, service, write, capsys):
    """The flag lets the daemon hold an execve until it has seen what runs: the first one, too."""
    runtime = runtimes(name)
    words = ("--rules", "exec-allowlist", "--metadata", "programs", "--flag", KILLABLE)
    made = write(runtime, *words)
    assert KILLABLE not in capsys.readouterr().err
    with runtime.start(made, script=f"{PROGRAMS} exec sleep 600") as container:
        wait_until(lambda: SAID in container.begun.output()[0], SAID, container.begun)
        entered = container.exec(["/bin/sh", "-c", PROGRAMS])
    assert (entered.stdout, entered.status) == (SAID, 0), entered.stderr
    id_ = runtime.id_of(container.name)
    calls = service.calls(id_, 7)
    assert {(one["verdict"], one["how"]) for one in calls} == {
        ("allow", "verified"),
        ("deny", "answered"),
    }
    assert service.unheard(id_) == []


def test_without_the_flag_no_program_that_a_rule_allows_is_executed(runtimes, write, capsys):
    """The container does not start, as the profile's writer is told."""
    runtime = runtimes("runc")
    made = write(runtime, "--rules", "exec-allowlist", "--metadata", "programs")
    assert f"without the flag {KILLABLE}" in capsys.readouterr().err
    finished = runtime.run("echo runs", made)
    assert (finished.status != 0, finished.stdout) == (True, "")
    assert os.strerror(errno.EPERM).lower() in finished.stderr  # as Go spells it


def test_this_runc_knows_no_flags(runtimes, write):
    """Debian's 1.1 refuses a container with one; what docs/explanation/limits.md says of it."""
    made = write(runtimes("runc"), "--rules", "harmless-devices", "--flag", KILLABLE)
    finished = runtimes("runc").run("echo runs", made)
    assert (finished.status != 0, finished.stdout) == (True, "")
    assert "flags" in finished.stderr  # runc's own reason, of which the page says more


def test_the_daemon_says_what_a_profile_does_not_report(oci_runtime, service):
    """One that somebody wrote for other rules."""
    made = oci.profile("mknod", "mknodat", listener=service.socket, metadata="programs")
    name = f"{oci_runtime.name}-misses"
    # It waits for an answer: of one that ended at once the bundle could be gone before it is read.
    oci_runtime.run("mknod /tmp/n c 1 3", made, name=name)
    service.arrivals(oci_runtime.id_of(name), 1)
    (missing,) = service.unheard(oci_runtime.id_of(name))
    assert {"execve", "execveat", "mount"} <= set(missing["syscalls"])
    assert "mknod" not in missing["syscalls"]
