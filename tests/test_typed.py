"""A rule file of a user's own passes `mypy --strict`, whichever way it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RULES = """
\"\"\"Writing below /etc asks a person.\"\"\"

import errno

from notifyd import {names}

always(Deny(errno.EPERM), Ptrace)
SUFFIX = option("suffix", ".conf", summary="what is asked about")


@on(Open, patience=5, flags=has(1))
async def ask_before_etc(call: Open) -> Allow | Ask | None:
    if not call.writes or call.path.suffix != SUFFIX:
        return None
    name = call.process.exe.name
    return Ask(f"{{name}} wants {{call.path}}", within=60, otherwise=Deny(errno.EACCES))


@on(Connect, Raw("sysinfo"))
def no_network(call: Call) -> Verdict | None:
    return Return(0) if isinstance(call, Connect) else Supply(b"text")
"""
NAMES = "Allow, Ask, Call, Connect, Deny, Open, Ptrace, Raw, Return, Supply, Verdict"
FUNCTIONS = "always, has, on, option"


@pytest.mark.parametrize("names", [f"{NAMES}, {FUNCTIONS}", "*"], ids=["names", "star"])
def test_a_rule_file_is_typed(names: str, tmp_path: Path) -> None:
    """Operations, verdicts and declarations have types that say what a rule may do with them."""
    file = tmp_path / "own_rules.py"
    file.write_text(RULES.format(names=names))
    options = ["--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
