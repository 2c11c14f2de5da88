"""The benches run, and what they print has the shape that people and programs rely on. No times."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

BENCH = Path(__file__).parent
PATIENCE = 900.0  # seconds; what a run of all of them may take on a busy machine
NAMES = [
    "register",
    "path",
    "path-resolved",
    "always",
    "async",
    "register-audit",
    "path-audit",
    "open",
    "open-resolved",
    "open-helper",
    "start-up",
    "git-status",
    "make",
    "execs",
]


def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """The harness, with as little measuring as there can be; `changed` are of the environment."""
    command = [sys.executable, str(BENCH), "--rounds", "1", "--calls", "300", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **changed},
    ) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends all that it has started
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_every_bench_gives_a_figure():
    """All benches end with figures, pinned and not, in the order of the catalogue."""
    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    for rows in (found["pinned"], found["unpinned"]):
        assert [row["name"] for row in rows] == NAMES
        skipped = {row["name"] for row in rows if row["skipped"]}
        assert skipped == (set() if os.geteuid() == 0 else {"open-helper"})
        rows = [row for row in rows if not row["skipped"]]
        assert all(row["c_ns"] > 0 and row["notifyd_ns"] > 0 for row in rows)
        assert {len(figures) for row in rows for figures in row["samples"].values()} == {1}
    assert {"open", "rename", "connect", "fork, exec, wait"} <= {
        one["call"] for one in found["costs"] if one["same"] > one["native"] > 0
    }
    beside = {one["beside"] for one in found["neighbours"] if one["p99"] >= one["p50"] > 0}
    assert ({"alone", "1 busy", "63 busy", "63 hostile"} <= beside) == (os.geteuid() == 0)
    assert [(one["workloads"], one["rss"] >= one["pss"] > 0) for one in found["memory"]] == [
        (1, True),
        (200, True),
    ]


def test_the_table_names_figure_ratio_and_goal():
    """A table for people has the strict C figure, notifyd's, the ratio, the goal and a verdict."""
    done = run("--only", "register")
    assert done.returncode == 0, done.stdout + done.stderr
    headings, row = done.stdout.split("\n\n")[1].splitlines()[1:]
    assert headings.split()[:6] == ["bench", "C", "ns", "notifyd", "ns", "ratio"]
    assert row.split()[0] == "register"
    assert row.split()[4] == "2.00"
    assert row.split()[5] in {"yes", "NO"}


def test_an_answer_that_nobody_gave_is_no_figure():
    """A notifyd that lets every call through fails the bench instead of winning it."""
    through = "sh -c 'while [ $1 != -- ]; do shift; done; shift; exec \"$@\"' notifyd"
    done = run("--only", "register", "--notifyd", through)
    assert done.returncode == 1
    assert "did not give 42" in done.stdout


def test_a_c_compiler_is_enough(tmp_path):
    """Where a program is missing that a bench is about, that bench is skipped and says so."""
    for name in ("cc", "as", "ld"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = run("--only", "git-status", "--only", "register", "--json", PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["pinned"]}
    assert rows["git-status"]["skipped"] == "needs git"
    assert rows["register"]["c_ns"] > 0


def test_an_unknown_bench_is_refused():
    """A misspelt name is a usage error, not an empty table."""
    done = run("--only", "registre")
    assert done.returncode == 2
    assert "registre" in done.stderr


def test_the_log_s_script_runs():
    """It prints a figure for each thing that is done with a log."""
    script = Path(__file__).parent / "audit_log.py"
    done = subprocess.run(
        [sys.executable, script, "--records", "500"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("µs a record") == 7
