"""Only what is on the list is executed, by its name or by what it holds."""

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from notifyd import Allow, Chroot, Deny, Exec, Ioctl, IoUring, Mount, Ptrace
from notifyd.errors import UsageError
from notifyd.testing import load_rules, make_call, verdict_of

RULES = ["exec-allowlist"]
HELD = hashlib.sha256(b"program").hexdigest()


@dataclass
class Asked:
    """A call as far as the rule looks at it; counts how often the file is read."""

    path: PurePosixPath
    read: int = 0

    @property
    def sha256(self) -> str:
        self.read += 1
        return HELD


def says(rules, call):
    """The errno, or the verdict, of the only rule."""
    found = rules.rules[0](call)
    return found.errno if isinstance(found, Deny) else found


@pytest.fixture
def program(tmp_path):
    """A file to execute, and a link to it."""
    path = tmp_path / "program"
    path.write_bytes(b"program")
    (tmp_path / "link").symlink_to("program")
    return path


def test_paths_are_listed(program):
    """A link to a listed program is as good as the program."""
    for listed in (program, program.with_name("link")):
        rules = load_rules(*RULES, path=listed)
        links = {str(program.with_name("link")): "program"}
        for path in (program, program.with_name("link")):
            assert verdict_of(rules, make_call(Exec, path=path, links=links)) == Allow()
        other = verdict_of(rules, make_call(Exec, path=program.with_name("programs")))
        assert other == Deny(errno.EACCES, reason=f"{program}s is not on the list")


def test_contents_are_listed():
    """Wherever the file lies; capitals are as good."""
    for digest in (HELD, HELD.upper()):
        assert says(load_rules(*RULES, sha256=digest), Asked(PurePosixPath("/x"))) == Allow()
    other = hashlib.sha256(b"another").hexdigest()
    call = Asked(PurePosixPath("/x"))
    assert says(load_rules(*RULES, sha256=other), call) == errno.EACCES
    assert call.read == 1


def test_a_file_is_read_only_if_it_matters(program):
    """Not where its path is on the list, nor where no digest is."""
    both, paths = load_rules(*RULES, path=program, sha256=HELD), load_rules(*RULES, path=program)
    for rules, path, verdict in (
        (both, program, Allow()),
        (paths, program, Allow()),
        (paths, PurePosixPath("/x"), errno.EACCES),
    ):
        call = Asked(path)
        assert says(rules, call) == verdict
        assert call.read == 0


def test_an_empty_list_allows_nothing():
    """Not even the command."""
    verdict = verdict_of(load_rules(*RULES), make_call(Exec, path="/bin/true"))
    assert verdict.errno == errno.EACCES


@pytest.mark.parametrize("operation", [Mount, Chroot, IoUring, Ptrace])
def test_what_changes_the_meaning_of_a_path_is_refused(operation):
    """In the kernel."""
    assert verdict_of(load_rules(*RULES), make_call(operation)) == Deny(errno.EPERM)


def test_nothing_is_typed_for_a_shell():
    """Which would execute what it likes."""
    typing = make_call(Ioctl, request=0x5412)
    assert verdict_of(load_rules(*RULES), typing) == Deny(errno.EPERM)


@pytest.mark.parametrize(
    ("name", "text"), [("path", "/no/such/program"), ("sha256", HELD[1:]), ("sha256", "x" * 64)]
)
def test_mistakes_are_told(name, text):
    """A program that is not there, and what is no digest."""
    with pytest.raises(UsageError, match=f"{name}="):
        load_rules(*RULES, **{name: text})


def test_the_command_has_to_be_listed(run, user):
    """Otherwise nothing runs, and somebody says why."""
    ran = run(RULES, "/bin/ls", user=user, path="/bin/cat")
    assert ran.status == 126
    assert ran.out == ""
    assert [call["errno"] for call in ran.calls] == ["EACCES"]
    assert ran.calls[0]["reason"] == f"{os.path.realpath('/bin/ls')} is not on the list"


@pytest.fixture
def tools(everybodys):
    """A program, a copy of it, a script, and a directory where everybody may write."""
    for name in ("tool", "copy"):
        shutil.copy("/usr/bin/basename", everybodys / name)
    (everybodys / "script").write_text(f"#!{everybodys}/tool -s\n")
    (everybodys / "script").chmod(0o755)
    return everybodys


def executed(ran):
    """The calls to execute, in the order in which they came."""
    found = [one for one in ran.calls if one["operation"] == "Exec"]
    return sorted(found, key=lambda one: one["time"])


def test_listed_paths_are_executed(run, user, tools):
    """By a shell, by a link, and nothing beside them."""
    (tools / "link").symlink_to("tool")
    line = f"cd {tools}; ./tool a/b; ./link a/c; ./copy a/d; ./script a/e; echo $?"
    ran = run(RULES, "/bin/sh", "-c", line, user=user, path=("/bin/sh", str(tools / "tool")))
    assert ran.out.split() == ["b", "c", "126"]
    assert [(one["verdict"], one["how"]) for one in executed(ran)] == [
        *[("allow", "verified")] * 3,
        *[("deny", "answered")] * 2,
    ]


def test_listed_digests_are_executed(run, user, tools):
    """Wherever the file lies; a changed one is another file."""
    held = [
        hashlib.sha256(Path(os.path.realpath(one)).read_bytes()).hexdigest()
        for one in ("/bin/sh", tools / "tool")
    ]
    line = f"cd {tools}; ./tool a/b; ./copy a/c; echo x >> copy; ./copy a/d; echo $?"
    (tools / "copy").chmod(0o777)
    ran = run(RULES, "/bin/sh", "-c", line, user=user, sha256=tuple(held))
    assert ran.out.split() == ["b", "c", "126"]
    found = [one["args"].get("sha256") in held for one in executed(ran)]
    assert found == [True, True, True, False]


def test_a_listed_script_brings_its_interpreter(run, user, tools):
    """It needs no entry of its own, and gets none."""
    line = f"{tools}/script /a; {tools}/tool a/b; echo $?"
    ran = run(RULES, "/bin/sh", "-c", line, user=user, path=("/bin/sh", str(tools / "script")))
    assert ran.out.split() == ["a", "126"]


EXCHANGES = """if True:
    import os, subprocess, sys, threading
    own, other, link = sys.argv[1:4]
    def flip():
        while True:
            for target in (other, own):
                os.symlink(target, link + "2")
                os.rename(link + "2", link)
    threading.Thread(target=flip, daemon=True).start()
    for _ in range(int(sys.argv[4])):
        try:
            done = subprocess.run([link, "a/own"], capture_output=True, text=True)
            print(done.stdout.strip() or done.returncode, flush=True)
        except OSError as error:
            print(error.errno, flush=True)
    os._exit(0)
"""


def test_a_link_that_flips_never_starts_another_program(run, user, tools, system_python):
    """Neither what it prints nor anything else of it is ever seen."""
    shutil.copy("/usr/bin/dirname", tools / "other")
    words = [system_python, "-I", "-c", EXCHANGES]
    words += [str(tools / "tool"), str(tools / "other"), str(tools / "link"), "400"]
    ran = run(RULES, *words, user=user, path=(system_python, str(tools / "tool")))
    assert ran.status == 0, ran.err
    assert len(ran.out.split()) == 400
    assert {"own", str(errno.EACCES)} <= set(ran.out.split())
    assert "a" not in ran.out.split()
