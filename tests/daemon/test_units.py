"""The units say what systemd understands, and expose no more than they have to."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted([*(ROOT / "systemd").glob("*.service"), *(ROOT / "systemd").glob("*.socket")])
PAGE = ROOT / "docs" / "how-to" / "install-as-a-service.md"

# Exposure of notifyd.service in tenths, from 0 to 100, as systemd 252 counts. What is left is what
# the unit lists as hardening that cannot be used.
EXPOSURE = 65

pytestmark = pytest.mark.usefixtures("whole")  # systemd-analyze


def analyze(unit: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze of a unit, without a pager."""
    command = ["systemd-analyze", "--no-pager", *words, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a command that is there: `verify` looks for it."""
    command = tmp_path / "notifyd"
    command.write_text(f"#!{sys.executable}\n")
    command.chmod(0o755)
    for unit in UNITS:
        text = re.sub(r"^(Exec\w+)=notifyd ", rf"\1={command} ", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_it(installed: Path, unit: Path) -> None:
    """An unknown key only shows on stderr."""
    done = analyze(installed / unit.name, "verify", "--man=no")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_key_would_be_found(installed: Path) -> None:
    """That is what the test above relies on."""
    unit = installed / "notifyd.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nProtectEverything=yes"))
    assert "ProtectEverything" in analyze(unit, "verify", "--man=no").stderr


def test_what_newer_ones_understand(installed: Path) -> None:
    """The drop-in has one key, which systemd knows since 254; an older one only says so."""
    drop = ROOT / "systemd" / "notifyd.service.d" / "keep.conf"
    (installed / "notifyd.service.d").mkdir()
    shutil.copy(drop, installed / "notifyd.service.d")
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True)
    (major,) = re.findall(r"^systemd (\d+)", version.stdout)
    done = analyze(installed / "notifyd.service", "verify", "--man=no")
    told = [line for line in done.stderr.splitlines() if "FileDescriptorStorePreserve" in line]
    assert (done.returncode, done.stderr.splitlines()) == (0, told)
    assert len(told) == (int(major) < 254)


def test_the_exposure_is_the_lowest_that_can_be(installed: Path) -> None:
    """No worse than it was, and what the page says."""
    unit = installed / "notifyd.service"
    worst = ("security", "--offline=true", "--threshold")
    assert analyze(unit, *worst, str(EXPOSURE)).returncode == 0
    better = analyze(unit, *worst, str(EXPOSURE - 1))
    assert better.returncode
    assert f"{EXPOSURE / 10} " in better.stdout.splitlines()[-1]
    assert f"{EXPOSURE / 10} of 10" in PAGE.read_text()


def test_each_line_of_the_service_has_its_reason() -> None:
    """Settings stand below a comment, or below settings that it is about too."""
    body = (ROOT / "systemd" / "notifyd.service").read_text().partition("[Service]\n")[2]
    lines = body.partition("[Install]")[0].splitlines()
    bare = [line for above, line in itertools.pairwise(["", *lines]) if line and not above]
    assert [line for line in bare if not line.startswith("#")] == []


def test_the_distribution_has_them(tmp_path: Path) -> None:
    """In the source as they are; a wheel installs them below share/notifyd."""
    build = "from hatchling.build import *; build_sdist({0!r}); build_wheel({0!r})"
    command = [sys.executable, "-c", build.format(str(tmp_path))]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, capture_output=True)
    wanted = {str(one.relative_to(ROOT)) for one in (ROOT / "systemd").rglob("*") if one.is_file()}
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted <= inside
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        shipped = {name.partition("/share/notifyd/")[2] for name in wheel.namelist()}
    assert wanted <= shipped


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to root")
def test_what_makes_users_and_folders_is_understood(tmp_path: Path) -> None:
    """By the programs that read it, over an empty root."""
    root = tmp_path / "root"
    for kind in ("sysusers", "tmpfiles"):
        tool = shutil.which(f"systemd-{kind}")
        assert tool
        file = ROOT / "systemd" / f"{kind}.d" / "notifyd.conf"
        (root / "etc").mkdir(parents=True, exist_ok=True)
        create = [] if kind == "sysusers" else ["--create"]
        command = [tool, *create, f"--root={root}", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    assert (root / "etc" / "group").read_text().startswith("notifyd:")
    assert (root / "etc" / "notifyd" / "rules").is_dir()
    assert (root / "run" / "notifyd").stat().st_mode & 0o777 == 0o755
