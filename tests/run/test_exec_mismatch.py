"""What was about to run is not what the rule saw: it is killed, and an event says what differed.

The rules here change the thing themselves right after they looked, so that nothing is left to luck.
"""

import shutil
import subprocess

import pytest

RULE = """
import shutil
from pathlib import Path

@on(Exec)
def changes(call):
    if not call.pathname.startswith(b"./"):
        return Allow()
    {looks}
    {acts}
    return Allow()
"""
WORD = "int.from_bytes(call.target.read(call.args[{}] + {}, 8), 'little')"
CHANGES = {
    "file": ("call.pathname", "call.target.write(call.args[0], b'./oth\\0')"),
    "sha256": ("call.sha256", "open('tool', 'a').write('x')"),
    "argv": ("call.argv", f"call.target.write({WORD.format(1, 8)}, b'evil')"),
    "envp": ("call.envp", f"call.target.write({WORD.format(2, 0)}, b'evil')"),
}
# A user namespace has formats of its own since Linux 6.7: the machine's stay as they are.
FOREIGN = """
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
echo ":foreign:E::foreign::/bin/echo:{flags}" >/proc/sys/fs/binfmt_misc/register &&
exec "$@"
"""


@pytest.fixture
def tools(tmp_path):
    """Two programs in a directory."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("tool", "oth"):
        shutil.copy("/bin/echo", here / name)
    return here


@pytest.mark.parametrize("about", CHANGES)
def test_what_differs_is_killed_and_told(about, tools, rule, run):
    """By SIGKILL, before it printed anything; with what was seen and what was found."""
    looks, acts = CHANGES[about]
    text = RULE.format(looks=looks, acts=acts)
    line = ("env", "-i", "NAME=value", "./tool", "good", "-and-more")
    ran = run("--rules", rule(text, pulse=False), "--", *line, cwd=tools)
    assert (ran.status, ran.out) == (137, "")
    told = ran.the("exec.mismatch")
    assert told["about"] == about
    assert told["expected"] != told["found"]
    assert told["rule"].endswith(":changes")
    (last,) = [event for event in ran.of("Exec") if event["verdict"] == "kill"]
    assert last["how"] == "verified"
    assert about in last["reason"]


def test_a_path_that_has_moved_is_asked_about_again(tools, rule, run):
    """Nothing is killed where the file is another one before the kernel was asked."""
    text = """
    asked = []
    @on(Exec)
    def moves(call):
        if not call.pathname.startswith(b"./"):
            return Allow()
        asked.append(call.path)
        if len(asked) == 1:
            os.rename("tool", "kept")
            os.symlink("kept", "tool")
        return Allow() if call.path.name in ("tool", "kept") else Deny(errno.EACCES)
    """
    ran = run("--rules", rule(text, pulse=False), "--", "env", "./tool", "hello", cwd=tools)
    assert (ran.status, ran.out) == (0, "hello\n")
    assert any(event["args"].get("path", "").endswith("/kept") for event in ran.of("Exec"))


def test_what_a_rule_read_by_itself_is_refused(tools, rule, run):
    """Nobody could compare it."""
    text = """
    @on(Exec)
    def reads(call):
        if call.pathname.startswith(b"./"):
            call.read(call.args[1], 8)
        return Allow()
    """
    ran = run("--rules", rule(text, pulse=False), "--", "env", "./tool", cwd=tools)
    assert ran.status == 126
    assert any("by itself" in event.get("reason", "") for event in ran.of("Exec"))


@pytest.mark.parametrize("flags", ["", "P", "OC", "F"])
def test_an_interpreter_of_binfmt_misc_does_not_start(flags, tools, rule, run):
    """Whatever its flags: the file that the rule saw is not what would run."""
    (tools / "tool.foreign").write_text("some other machine's\n")
    (tools / "tool.foreign").chmod(0o755)
    before = ("unshare", "-Urm", "sh", "-c", FOREIGN.format(flags=flags), "sh")
    natively = subprocess.run(
        [*before, "./tool.foreign"], cwd=tools, capture_output=True, text=True
    )
    if "mount" in natively.stderr:
        pytest.skip(f"formats of a user namespace's own need Linux 6.7: {natively.stderr}")
    assert (natively.returncode, natively.stderr) == (0, "")
    assert natively.stdout.startswith("./tool.foreign")
    text = """
    @on(Exec)
    def looks(call):
        return Allow() if call.path.name else None
    """
    line = ("--rules", rule(text, pulse=False), "--", "./tool.foreign")
    ran = run(*line, cwd=tools, before=before)
    assert (ran.status, ran.out) == (137, "")
    assert ran.the("exec.mismatch")["about"] == "file"
