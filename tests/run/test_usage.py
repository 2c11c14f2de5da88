"""Bad input: one clear line with the remedy, the right status, and nothing half-started."""

import os
import re
import sys

import pytest

from notifyd.kernel.arch import native as native_arch


def complaint(ran, status, *parts):
    """The one line that the run complained with, which has these parts."""
    lines = ran.err.splitlines()
    assert ran.status == status, ran.err
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("notifyd: ")
    for part in parts:
        assert part in lines[0]
    assert ran.out == ""
    return lines[0]


def test_an_unknown_rule_suggests_the_nearest(run):
    """A misspelt shipped rule is answered with the right name."""
    complaint(run("--rules", "no-netwrok", "--", "true"), 2, "no-netwrok", "'no-network'")


def test_a_rule_file_that_is_not_there(run, tmp_path):
    """A path is named as it was given; a folder is no rule file."""
    complaint(run("--rules", str(tmp_path / "no.py"), "--", "true"), 2, "no.py")
    complaint(run("--rules", f"{tmp_path}/", "--", "true"), 2, str(tmp_path))


BROKEN = {
    "a syntax error": ("@on(Uname)\ndef odd(call)\n  pass\n", 4),
    "an error": ("x = 1\n1 / 0\n", 4),
    "an error in a function": ("def f():\n  return [][1]\nf()\n", 4),
    "an exit": ("import sys\nsys.exit(3)\n", 4),
    "an unknown name": ("from notifyd import Opne\n", 3),
    "an unknown operation": ("@on('Open')\ndef odd(call):\n  pass\n", 3),
    "an unknown field": ("@on(Open, colour=3)\ndef odd(call):\n  pass\n", 3),
    "a field in memory": ("@on(Open, path='/etc')\ndef odd(call):\n  pass\n", 3),
    "no operation": ("@on()\ndef odd(call):\n  pass\n", 3),
    "a bad on_error": ("@on(Uname, on_error=7)\ndef odd(call):\n  pass\n", 3),
    "an impossible always": ("always(Return(0), Uname)\n", 3),
    "a NUL": ("x = '\0'\n", None),
    "an error of two lines": ("raise ValueError('one\\ntwo')\n", 3),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_rule_file_is_told_with_its_line(what, rule, run):
    """File and line stand first, so that an editor can jump there."""
    text, line = BROKEN[what]
    path = rule(text, pulse=False)
    place = f"{path}:{line}: " if line else path
    complaint(run("--rules", path, "--", "true"), 2, place)


@pytest.mark.parametrize(
    "text",
    [
        "@on(Raw('opan'))\ndef odd(call):\n  pass\n",
        "always(Deny(1), Raw('opan'))\n",
    ],
)
def test_an_unknown_system_call_suggests_the_nearest(text, rule, run):
    """A misspelt system call is answered with place and the right name."""
    path = rule(text, pulse=False)
    complaint(run("--rules", path, "--", "true"), 2, f"{path}:3: ", "'opan'", "'open'")


def test_a_file_without_rules(rule, run):
    """A file that declares nothing is a mistake."""
    complaint(run("--rules", rule("x = 1\n", pulse=False), "--", "true"), 2, "@on")


def test_a_rule_that_never_fires_names_both_places(rule, run):
    """A rule on what its file's `always` decides already is refused with both places."""
    always, late = "always(Deny(1), Uname)\n", "@on(Uname)\ndef late(call):\n  pass\n"
    both = rule(always + late, pulse=False)
    complaint(run("--rules", both, "--", "true"), 2, f"{both}:3", f"{both}:4")
    files = rule(always, pulse=False), rule(late, pulse=False)
    for first, second in (files, files[::-1]):  # files stand together
        assert run("--rules", first, "--rules", second, "--", "uname").status == 1


@pytest.mark.parametrize("words", [(), ("--otherwise", "deny"), ("--strict", "--user", "nobody")])
def test_no_rules(words, run, tmp_path):
    """Nothing would be decided: no run is better than one that only looks supervised."""
    complaint(run(*words, "--", "touch", str(tmp_path / "done")), 2, "--rules", "--service")
    assert not (tmp_path / "done").exists()


def test_a_rule_that_fails_is_told_even_if_quiet(rule, run):
    """Once, with the place, and how often; one that refuses is not told then."""
    fails = rule("@on(Uname)\ndef odd(call):\n  return missing\n", pulse=False)
    refuses = rule("@on(Uname)\ndef odd(call):\n  return Deny(1)\n", pulse=False)
    script = "uname -n; uname -n; uname -n"
    told = run("--rules", fails, "--", "sh", "-c", f"({script}) 2>/dev/null").err.splitlines()
    assert len(told) == 2
    assert all(f"odd failed: {os.path.basename(fails)}:" in line for line in told)
    assert "3 times: " in told[1]
    assert run("--rules", refuses, "--", "sh", "-c", f"({script}) 2>/dev/null").err == ""


def test_options_are_checked(run):
    """A misspelt option, one without a value, and a value that cannot be read."""
    complaint(run("--rules", "connect-allowlist", "--option", "too=x", "--", "true"), 2, "'too'")
    complaint(run("--rules", "connect-allowlist", "--option", "to", "--", "true"), 2, "NAME=VALUE")
    complaint(
        run("--rules", "bind-low-ports", "--option", "ports=many", "--", "true"), 2, "ports=many"
    )


def test_an_unknown_switch_is_a_usage_error(run):
    """Click says which; the status is 2."""
    ran = run("--rulez", "no-network", "--", "true")
    assert ran.status == 2
    assert "--rulez" in ran.err
    assert run().status == 2


@pytest.mark.parametrize("user", ["nobody-at-all", "-1", "0:no-such-group", "99999999999"])
def test_a_bad_user(user, run):
    """A user that is not there is named."""
    complaint(
        run("--user", user, "--rules", "no-network", "--", "true"), 2, user.rpartition(":")[2]
    )


def test_no_such_command(run):
    """127, as shells do."""
    for rules in ("no-network", "audit-exec"):
        complaint(run("--rules", rules, "--", "no-such-command"), 127, "no-such-command")
        complaint(run("--rules", rules, "--", "/no/such"), 127, "/no/such")


def test_not_executable(run, tmp_path):
    """126, as shells do: no x bit, a folder."""
    plain = tmp_path / "plain"
    plain.write_text("hello")
    for rules in ("no-network", "audit-exec"):
        complaint(run("--rules", rules, "--", str(plain)), 126, str(plain))
        complaint(run("--rules", rules, "--", str(tmp_path)), 126, str(tmp_path))


def test_an_audit_file_in_a_missing_folder(native, tmp_path):
    """The audit file is opened before anything is started."""
    proof = tmp_path / "proof"
    line = (sys.executable, "-m", "notifyd", "run", "--audit", str(tmp_path / "no" / "a"))
    for rules in ("no-network", "audit-exec"):
        ran = native(*line, "--rules", rules, "--", "touch", str(proof))
        complaint(ran, 2, str(tmp_path / "no" / "a"))
    assert not proof.exists()


def test_an_audit_file_that_another_run_writes(native, tmp_path):
    """One writer at a time; the second run starts nothing."""
    proof, path = tmp_path / "proof", str(tmp_path / "a")
    line = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", "no-network", "--audit", path)
    complaint(native(*line, "--", *line, "--", "touch", str(proof)), 2, "another notifyd")
    assert not proof.exists()


def test_a_key_for_the_audit_file(native, tmp_path):
    """The file is signed; a key without a file is a mistake."""
    line = (sys.executable, "-m", "notifyd")
    path, key = str(tmp_path / "a"), str(tmp_path / "key")
    alone = native(*line, "run", "--audit-key", key, "--rules", "no-network", "--", "true")
    complaint(alone, 2, "--audit-key")
    signed = ("--audit", path, "--audit-key", key)
    assert native(*line, "run", "-q", *signed, "--rules", "audit-exec", "--", "true").status == 0
    verified = native(*line, "audit", "verify", path, "--key", key)
    assert verified.status == 0
    assert "1 of 1 checkpoints signed" in verified.out


def test_inside_of_another_supervisor(run, tmp_path):
    """The kernel allows one listener: a nested run says so and starts nothing."""
    proof = tmp_path / "proof"
    inner = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", "audit-exec", "--")
    ran = run("--rules", "audit-exec", "--", *inner, "touch", str(proof))
    complaint(ran, 2, "another seccomp supervisor", "outside")
    assert not proof.exists()


def test_inside_of_another_filter(run):
    """Rules that the kernel decides alone need no listener and nest."""
    inner = (sys.executable, "-m", "notifyd", "run", "-q", "--rules", "no-network", "--")
    ran = run("--rules", "audit-exec", "--", *inner, "echo", "hello")
    assert (ran.status, ran.out, ran.err) == (0, "hello\n", "")


OUTER = """
import os, struct, sys
from notifyd.kernel import prctl, seccomp
number, action, operation = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rows = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, operation),
        (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000)]
prctl.set_no_new_privs()
seccomp.install(b"".join(struct.pack("=HBBI", *row) for row in rows), 0)
os.execv(sys.executable, [sys.executable, "-m", "notifyd", *sys.argv[4:]])
"""


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EPERM"])
def test_a_kernel_without_user_notification(error, native, tmp_path):
    """Where SECCOMP_GET_NOTIF_SIZES fails, the run says what is missing and starts nothing."""
    import errno

    proof = tmp_path / "proof"
    ran = native(
        sys.executable, "-c", OUTER, str(native_arch().numbers["seccomp"]),
        str(0x00050000 | getattr(errno, error)), "3", "run", "-q", "--rules", "audit-exec",
        "--", "touch", str(proof),
    )  # fmt: skip
    line = complaint(ran, 2)
    assert re.search(r"kernel|container|5\.0|notification", line), line
    assert not proof.exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting over /proc needs root")
def test_without_proc(native):
    """In a chroot that has none, say: one line that says what to do, and at once."""
    line = [sys.executable, "-m", "notifyd", "run", "-q", "--rules", "audit-exec", "--", "true"]
    script = 'mount -t tmpfs none /proc && exec "$@"'
    shelter = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    complaint(native(*shelter, *line), 2, "/proc is not there", "mount -t proc")


@pytest.mark.parametrize("limit", [8, 10, 12, 14])
def test_a_descriptor_limit_that_is_too_low(limit, run):
    """Without room for our descriptors the run fails with one line, and nothing is left."""
    before = ("prlimit", f"--nofile={limit}")
    ran = run("--rules", "audit-exec", "--", "true", before=before)
    assert ran.status in (0, 2)
    assert len(ran.err.splitlines()) == (ran.status == 2)


@pytest.mark.parametrize("error", ["2>/dev/full", "2>&-", "2>&- >&- <&-"])
@pytest.mark.parametrize("switch", ["-q", "--strict"])
def test_a_standard_error_that_takes_nothing(switch, error, native):
    """A full or closed standard error is no reason to lose the command's status."""
    line = [sys.executable, "-m", "notifyd", "run", switch, "--rules", "no-network", "--"]
    script = "import socket, sys\ntry: socket.socket()\nexcept OSError: sys.exit(5)"
    ran = native("sh", "-c", f'exec "$@" {error}', "sh", *line, sys.executable, "-c", script)
    assert ran.status == 5
