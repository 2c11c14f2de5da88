"""Options name what is there, and the command's own places are found without being led astray."""

import subprocess
from pathlib import Path

import pytest

from notifyd.errors import UsageError
from notifyd.policy.load import load, load_file, shipped
from notifyd.testing import load_rules

RULES = """
from notifyd import Deny, Ptrace, always, command_places, existing, option

WRITABLE = option("writable", (), convert=existing)
PLACES = option("places", command_places(writable=WRITABLE))
always(Deny(1), Ptrace)
"""
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture
def places(tmp_path):
    """What a rule file finds for a program, below the test's directory, by relative names."""
    file = tmp_path / "rules.py"
    file.write_text(RULES)

    def find(*programs, writable=()):
        options = {"writable": [str(one) for one in writable]}
        found = load_file(str(file), options, [str(one) for one in programs]).wanted["places"]
        inside = [Path(one) for one in found.default if Path(one).is_relative_to(tmp_path)]
        return {str(one.relative_to(tmp_path)) for one in inside}

    return find


def executable(path, text="#!/bin/sh\n"):
    """A file that can be executed, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def installed_python(prefix):
    """What an installation of Python has: a program, and the library that is its landmark."""
    program = executable(prefix / "bin" / "python3")
    (prefix / "lib" / "python3.99").mkdir(parents=True)
    (prefix / "lib" / "python3.99" / "os.py").touch()
    return program


def environment(prefix, program):
    """A virtual environment as the venv module makes it: a link, and a file that tells its base."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib").mkdir()
    (prefix / "pyvenv.cfg").write_text(f"home = {program.parent}\nversion = 3.99.0\n")
    (prefix / "bin" / "python3").symlink_to(program)
    return prefix / "bin" / "python3"


def test_a_command_is_its_own_file(tmp_path, places):
    """With the links that lead to it; what lies beside it is not its own."""
    tool = executable(tmp_path / "tools" / "tool")
    executable(tmp_path / "tools" / "other")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "t").symlink_to("../tools/tool")
    (tmp_path / "all").symlink_to("bin")
    assert places(tool) == {"tools/tool"}
    assert places(tmp_path / "all" / "t") == {"all", "bin/t", "tools/tool"}


def test_what_is_no_program_is_nothing(tmp_path, places):
    """A file that nobody can execute, a directory, links in a circle, and nothing at all."""
    (tmp_path / "key").write_text("SECRET")
    (tmp_path / "round").symlink_to("round")
    for name in ("key", "round", "nothing", "."):
        assert places(tmp_path / name) == set()


def test_a_real_virtual_environment(tmp_path, places):
    """Its programs, libraries and settings; not what else is in its directory."""
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (tmp_path / "v" / ".env").write_text("SECRET")
    found = places(tmp_path / "v" / "bin" / "python3")
    assert {"v/bin", "v/lib", "v/include", "v/pyvenv.cfg", "v/bin/python3"} <= found
    assert "v" not in found
    assert "v/.env" not in found


def test_the_python_that_an_environment_was_made_from(tmp_path, places):
    """Wherever it lies, also where the environment has a copy and no link."""
    base = installed_python(tmp_path / "base")
    linked = environment(tmp_path / "v", base)
    copied = environment(tmp_path / "w", base)
    copied.unlink()
    executable(copied)
    for program in (linked, copied):
        assert {"base/bin", "base/lib"} <= places(program)
        assert "base" not in places(program)


def test_scripts_of_an_environment(tmp_path, places):
    """A console script, one that is linked from elsewhere, one whose first line names it."""
    python = environment(tmp_path / "v", installed_python(tmp_path / "base"))
    script = executable(tmp_path / "v" / "bin" / "tool", f"#!{python}\nprint()\n")
    other = executable(tmp_path / "other", f"#!{python} -I\nprint()\n")
    (tmp_path / "link").symlink_to(script)
    for program in (script, other, tmp_path / "link"):
        assert {"v/bin", "v/pyvenv.cfg", "base/lib"} <= places(program)


def test_pyenv(tmp_path, places):
    """Its shims are scripts that run whatever version is chosen: all of it can be read."""
    executable(tmp_path / "pyenv" / "libexec" / "pyenv")
    shim = executable(tmp_path / "pyenv" / "shims" / "python3")
    assert "pyenv" in places(shim)
    impostor = executable(tmp_path / "home" / "shims" / "python3")
    assert places(impostor) == {"home/shims/python3"}


def test_settings_open_no_directory_that_is_no_python(tmp_path, places):
    """Whatever `home` says."""
    (tmp_path / "private" / "bin").mkdir(parents=True)
    (tmp_path / "private" / "lib").mkdir()
    program = environment(tmp_path / "v", executable(tmp_path / "private" / "bin" / "python3"))
    found = places(program)
    assert "private/bin/python3" in found
    assert not {"private", "private/bin", "private/lib"} & found


def test_what_the_command_could_have_written_leads_nowhere(tmp_path, places):
    """A link, a link to a directory, a script or settings of an earlier run widen nothing."""
    base = installed_python(tmp_path / "base")
    project = tmp_path / "project"
    python = environment(project / "v", base)
    script = executable(project / "script", f"#!{base}\n")
    secret = executable(tmp_path / "secrets" / "key")
    (project / "tool").symlink_to(secret)
    (project / "folder").symlink_to(secret.parent)
    for program in (python, script, project / "tool", project / "folder" / "key"):
        assert places(program, writable=[project]) == set()
        assert places(program) != set()


def test_a_place_is_resolved_and_there(tmp_path):
    """By every shipped rule that takes one, with the option, the text and what to do."""
    (tmp_path / "link").symlink_to(tmp_path)
    missing, under = tmp_path / "link" / "nothing", tmp_path / "file" / "below"
    (tmp_path / "file").touch()
    for rules, name in (
        ("only-below", "allow"),
        ("only-below", "read"),
        ("only-below", "only-read"),
        ("redirect-home", "to"),
        ("readonly", "below"),
        ("ask-write", "below"),
        ("ask-exec", "free"),
        ("exec-allowlist", "path"),
    ):
        for path, remedy in ((missing, "make it"), (under, "make it"), ("", "give a path")):
            with pytest.raises(UsageError) as caught:
                load_rules(rules, **{name: path})
            assert str(caught.value).startswith(f"--option {name}={path}: ")
            assert remedy in str(caught.value)
    with pytest.raises(UsageError, match="make it first"):
        load_rules("secrets", file=f"/run/token={missing}")


def test_places_of_the_wrong_kind(tmp_path):
    """A directory for a program, a file for a directory."""
    (tmp_path / "file").touch()
    for rules, name, path, said in (
        ("exec-allowlist", "path", tmp_path, "no file"),
        ("ask-exec", "free", tmp_path, "no file"),
        ("redirect-home", "to", tmp_path / "file", "no directory"),
    ):
        with pytest.raises(UsageError, match=said):
            load_rules(rules, **{name: path})
    with pytest.raises(UsageError, match="is a directory"):
        load_rules("secrets", file=f"{tmp_path}={tmp_path / 'file'}")


def test_redirecting_needs_a_place_to_go_to():
    """Its default is for the filter alone."""
    assert load(["redirect-home"], deciding=False).declarations
    with pytest.raises(UsageError, match="'to'"):
        load_rules("redirect-home")


@pytest.mark.parametrize("name", shipped())
def test_every_place_is_told(name, tmp_path):
    """No shipped rule takes a path that is not there, whichever option it is for."""
    wanted = load_file(name).wanted
    missing = str(tmp_path / "nothing")
    no_paths = {"name", "seed", "ports", "to", "sha256", "from"}
    for option in wanted.keys() - (no_paths - ({"to"} if name == "redirect-home" else set())):
        with pytest.raises(UsageError):
            load_file(name, {option: [missing]})
