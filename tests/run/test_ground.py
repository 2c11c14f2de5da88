"""What the machine lacks is said in one line with a remedy; and what is under way is refused."""

import os
import random
import re
import sys

import pytest

from notifyd.kernel import needs
from notifyd.kernel.arch import native as native_arch

root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and other users need root")
NUMBERS = native_arch().numbers
# Becomes a command for which some system calls fail.
LACKING = """
import os, struct, sys
from notifyd.kernel import prctl, seccomp
error, names = int(sys.argv[1]), sys.argv[2].split(",")
rows = [(0x20, 0, 0, 0)]
for name in names:
    rows += [(0x15, 0, 1, int(name)), (0x06, 0, 0, 0x00050000 | error)]
rows.append((0x06, 0, 0, 0x7FFF0000))
prctl.set_no_new_privs()
seccomp.install(b"".join(struct.pack("=HBBI", *row) for row in rows), 0)
os.execvp(sys.argv[3], sys.argv[3:])
"""
LOOKS = """
@on(Mkdir)
def making(call):
    call.path
    return Allow()

@on(Exec)
def executing(call):
    call.path
    return Allow()
"""


def lacking(error, *names):
    """What to put before a command, so that it runs on a kernel without these calls."""
    return (sys.executable, "-c", LACKING, str(error), ",".join(str(NUMBERS[one]) for one in names))


def one_line(ran, *parts):
    """It ended with status 2 and one line, which has these parts; no process was started."""
    assert ran.status == 2, ran.err
    assert len(ran.err.splitlines()) == 1, ran.err
    for part in ("notifyd: ", *parts):
        assert part in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("name", needs.SINCE)
def test_a_kernel_that_lacks_a_call(name, run, rule, here):
    """It is named, with the Linux that has it, before the command runs."""
    line = ("--rules", rule(LOOKS), "--", "touch", str(here / "proof"))
    one_line(run(*line, before=lacking(38, name)), f"{name}(2)", needs.SINCE[name])
    assert not (here / "proof").exists()


def test_a_filter_that_refuses_a_call(run, rule):
    """As older profiles of containers do: EPERM is no better than ENOSYS."""
    ran = run("--rules", rule(LOOKS), "--", "true", before=lacking(1, "openat2"))
    one_line(ran, "openat2(2)", "a container's seccomp profile")


def test_what_can_be_done_without(run, rule, here):
    """A kernel without the newest calls performs as ever."""
    before = lacking(38, "statmount", "listmount", "clone3", "close_range")
    ran = run("--rules", rule(LOOKS), "--", "mkdir", str(here / "made"), before=before)
    assert (ran.status, ran.err) == (0, "")
    assert (here / "made").is_dir()


@root
@pytest.mark.root
def test_without_proc(native, rule, tmp_path):
    """Every command that needs /proc says so, and how to have it; those that do not, work."""
    config = tmp_path / "notifyd.toml"
    config.write_text('[[workload]]\nname = "all"\nrules = ["no-network"]\n')
    shelter = ("unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh")
    ours = [*shelter, sys.executable, "-m", "notifyd"]
    for words in (
        ("run", "-q", "--rules", rule(LOOKS), "--", "true"),
        ("run", "-q", "--rules", "no-network", "--", "true"),
        ("run", "--service=/nowhere", "--", "true"),
        ("serve", "--config", str(config)),
        ("serve", "--check", "--config", str(config)),
        ("profile", "--rules", rule(LOOKS)),
    ):
        one_line(native(*ours, *words), "/proc", "mount -t proc proc /proc")
    assert native(*ours, "rules").status == 0


@root
@pytest.mark.root
@pytest.mark.parametrize("options", ["hidepid=2", "subset=pid", "ro"])
def test_a_proc_that_hides(options, run, rule, here):
    """Nothing that is hidden there is needed."""
    script = f'mount -t proc -o {options} proc /proc && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    ran = run("--rules", rule(LOOKS), "--", "mkdir", str(here / "made"), before=before)
    assert (ran.status, ran.err) == (0, "")
    assert (here / "made").is_dir()


COMMAND = "mkdir made && echo made; echo end"


def judge(ran, here, limit):
    """Ended with one line, or did what it said: nothing is let through that was not decided."""
    assert "Traceback" not in ran.err, ran.err
    calls = [one for one in ran.events if one["event"] == "call"]
    if ran.status == 2 and "the system refuses" in ran.err:
        assert re.fullmatch(r"notifyd: .*; allow more .*\n", ran.err), ran.err
    elif ran.status == 2:
        assert re.fullmatch(r"notifyd: libseccomp cannot be loaded .*\n", ran.err), ran.err
    made = (here / "made").exists()
    assert ("made" in ran.out.split()) == made
    assert not made or any(one["operation"] == "Mkdir" for one in calls), limit
    for one in calls:
        assert one.get("cause") in (None, "undone", "short"), one
        assert one["how"] != "continued", one
        if one["verdict"] == "deny":
            assert one["errno"] == "EPERM"
            assert one["reason"]


@root
@pytest.mark.root
def test_no_more_processes(run, rule, here, tmp_path):
    """However few may be had: at the start, for the courier, a tracer, a helper, a worker."""
    path, ended = rule(LOOKS), []
    for limit in (1, 2, 3, 4, 5, 6, 40):
        uid = str(random.randrange(1 << 20, 1 << 24))  # nobody else's processes count
        for folder in (tmp_path, here):
            os.chown(folder, int(uid), int(uid))
        become = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        before = (*become, "prlimit", f"--nproc={limit}")
        ran = run("--rules", path, "--", "sh", "-c", COMMAND, before=before, cwd=here)
        judge(ran, here, limit)
        ended.append((here / "made").exists())
        if ended[-1]:
            (here / "made").rmdir()
    assert ended[0] is False
    assert ended[-1] is True


def test_no_more_descriptors(run, rule, here):
    """However few may be had; the limit is the command's too."""
    path, ended = rule(LOOKS), []
    for limit in (12, 14, 16, 18, 20, 100):
        before = ("prlimit", f"--nofile={limit}")
        ran = run("--rules", path, "--", "sh", "-c", COMMAND, before=before, cwd=here)
        judge(ran, here, limit)
        ended.append((here / "made").exists())
        if ended[-1]:
            (here / "made").rmdir()
    assert ended[0] is False
    assert ended[-1] is True
