"""`make demo` shows what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that the demo prints."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "notifyd"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m notifyd "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTIFYD": str(command)}
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "demo" / "demo.py"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_plugin_is_refused(shown: str) -> None:
    """It gets out without notifyd, and does its work but does not get out with it."""
    assert shown.count("plugin: 9 words") == 2
    assert shown.count("plugin: and home knows it") == 1
    assert shown.count("plugin: could not phone home: [Errno 13]") == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can grant a port")
def test_the_server_serves(shown: str) -> None:
    """Port 80 is refused first, then granted; a page is fetched; the table comes last."""
    refused, _, served = shown.partition("The rule bind-low-ports")
    assert f"[Errno 13] {os.strerror(13)}\n(exit status 1)" in refused
    assert "Served from a low port" in served
    table = served.partition("operation ")[2]
    assert "performed" in table
