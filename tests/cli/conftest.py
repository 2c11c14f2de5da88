"""The command line, called as the shell calls it but in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifyd.cli import main

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from living import live, policies

__all__ = ["live", "policies"]


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    out: str
    err: str
    status: int


@pytest.fixture
def notifyd(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call notifyd: `notifyd("rules", "no-network")`."""

    def call(*words: str) -> Said:
        status = 0
        try:
            main(list(words))
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
        said = capsys.readouterr()
        return Said(said.out, said.err, status)

    return call
