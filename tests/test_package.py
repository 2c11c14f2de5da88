"""The wheel holds all that notifyd needs, and works far from any checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(path.stem for path in (ROOT / "rules").glob("*.py"))
PLACES = ["notifyd", "docs", "rules", "systemd", ".ci", "Makefile"]
PLACES += ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
STRANGER = re.compile(r"pip3? install[^\n`]*(?<!seccomp-)\bnotifyd\b")


def run(*words: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command that knows nothing of this checkout; what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        words,
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # With the hatchling that is installed here, so that no network is needed.
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    run(sys.executable, "-c", code, folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `notifyd` command of a fresh environment with the wheel in it."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=environment)
    # The libraries come from here, as plain paths: what is installed as a link to a checkout (a
    # .pth file) is not seen by the fresh environment.
    folder = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    libraries = sysconfig.get_path("purelib")
    (folder / "libraries.pth").write_text(f"{libraries}\n")
    return environment / "bin" / "notifyd"


def test_the_wheel_has_what_it_needs_and_no_more(wheel: Path) -> None:
    """The package, its rules, its licence, its command, units; neither tests nor documentation."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = wheel.name.rsplit("-", 3)[0] + ".dist-info"
        assert info.startswith("seccomp_notifyd-")
        assert "notifyd = notifyd.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert {f"notifyd/shipped/{name}.py" for name in SHIPPED} <= set(names)
    assert "notifyd/py.typed" in names
    assert {f"notifyd/console/static/{name}" for name in ("index.html", "app.js", "style.css")} <= {
        *names
    }
    assert f"{info}/licenses/LICENSE" in names
    data = info.replace(".dist-info", ".data")
    assert {name.split("/")[0] for name in names} == {"notifyd", info, data}
    units = {name for name in names if name.startswith(data)}
    assert all(name.startswith(f"{data}/data/share/notifyd/systemd/") for name in units)
    assert not [name for name in names if "__pycache__" in name]


def test_the_installed_copy_is_used(installed: Path, tmp_path: Path) -> None:
    """Otherwise the tests below would test the checkout."""
    code = "import notifyd; print(notifyd.__file__)"
    python = installed.parent / "python"
    assert str(installed.parents[1]) in run(python, "-c", code, cwd=tmp_path)


def test_the_distribution_has_a_name_of_its_own(installed: Path, tmp_path: Path) -> None:
    """The index knows it as `seccomp-notifyd`; the command and the import are `notifyd`."""
    code = "from importlib.metadata import version; print(version('seccomp-notifyd'))"
    version = run(installed.parent / "python", "-c", code, cwd=tmp_path)
    assert run(installed, "--version", cwd=tmp_path) == f"notifyd {version}"


def test_the_rules_are_listed(installed: Path, tmp_path: Path) -> None:
    """By the names under which they can be used."""
    listed = run(installed, "rules", cwd=tmp_path)
    for name in SHIPPED:
        assert name.replace("_", "-") in listed


def test_a_command_runs_behind_a_rule(installed: Path, tmp_path: Path) -> None:
    """The whole way: rules, filter, command, exit status."""
    words = ["run", "--rules", "no-network", "--", sys.executable, "-c"]
    printed = run(installed, *words, "import socket; socket.socket()", cwd=tmp_path, status=1)
    assert "PermissionError: [Errno 13]" in printed
    run(installed, *words, "raise SystemExit(7)", cwd=tmp_path, status=7)


def test_a_command_runs_under_supervision(installed: Path, tmp_path: Path) -> None:
    """The same with a listener."""
    audit = tmp_path / "exec.jsonl"
    words = ["run", "--rules", "audit-exec", "--audit", audit, "--", "sh", "-c", "echo hello"]
    assert "hello" in run(installed, *words, cwd=tmp_path)
    assert '"operation":"Exec"' in audit.read_text()


@pytest.mark.parametrize("place", PLACES)
def test_no_hint_leads_to_a_stranger(place: str) -> None:
    """The package index has another project named `notifyd`: ours is `seccomp-notifyd`, or `.`."""
    top = ROOT / place
    for file in [top] if top.is_file() else top.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            text = file.read_text(errors="replace")
            assert STRANGER.findall(text) == [], file
