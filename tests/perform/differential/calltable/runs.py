"""Running the table: natively and performed, in equal stages, and putting the two side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from calltable.language import line

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[2]
PATIENCE = 120.0  # seconds for one run of the table


@dataclass(frozen=True)
class Where:
    """Who makes the calls, and on which file system.

    Attributes:
        folder: where the stages are made.
        user: user and group id; 0 for root.
        look: `paths`, or `text` for a rule that looks at no resolved path.
        supervised_by: the user id of notifyd itself.
    """

    folder: str
    user: int
    look: str = "paths"
    supervised_by: int = 0


@dataclass(frozen=True)
class Result:
    """What came of a case both ways: what it printed, and what its stage looked like after."""

    case: str
    native: tuple[str, ...]
    performed: tuple[str, ...]

    @property
    def difference(self) -> tuple[str, ...]:
        """The lines that differ, `-` natively and `+` performed."""
        mine, theirs = set(self.native), set(self.performed)
        gone = [f"- {one}" for one in self.native if one not in theirs]
        return (*gone, *(f"+ {one}" for one in self.performed if one not in mine))


class Programs:
    """The two programs, built in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.probe, self.stage = str(folder / "probe"), str(folder / "stage")
        for target in (self.probe, self.stage):
            source = HERE / f"{Path(target).name}.c"
            subprocess.run(["gcc", "-O1", "-Wall", "-o", target, str(source)], check=True)

    def run(self, cases: Sequence[str], where: Where) -> list[Result]:
        """Run every case both ways."""
        found = []
        with stages(where.folder) as base:
            table = base / "table"
            table.write_text("".join(f"{line(case)}\n" for case in cases))
            for way in ("native", "notify"):
                top = base / way
                top.mkdir()
                count, owner = str(len(cases)), str(where.user)
                subprocess.run([self.stage, "make", str(top), count, owner, owner], check=True)
                said = self._natively(table, top, where) if way == "native" else None
                said = said or self._performed(table, top, where)
                found.append(zip(said, list(self._stages(top)), strict=True))
        return [
            Result(case, (one, *before), (other, *after))
            for case, (one, before), (other, after) in zip(cases, *found, strict=True)
        ]

    def _natively(self, table: Path, top: Path, where: Where) -> list[str]:
        who = {"user": where.user, "group": where.user, "extra_groups": []}
        return _lines([self.probe, str(table), str(top)], **(who if where.user else {}))

    def _performed(self, table: Path, top: Path, where: Where) -> list[str]:
        words = ["--rules", str(HERE / "everything.py"), "--quiet"]
        who, id = {}, where.supervised_by
        if where.user and not id:
            words += ["--user", f"{where.user}:{where.user}"]
        if id:
            who = {"user": id, "group": id, "extra_groups": []}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "DIFFERENTIAL_LOOK": where.look}
        line = [sys.executable, "-m", "notifyd", "run", *words, "--"]
        return _lines([*line, self.probe, str(table), str(top)], env=env, **who)

    def _stages(self, top: Path) -> Iterator[tuple[str, ...]]:
        done = subprocess.run([self.stage, "dump", str(top)], check=True, capture_output=True)
        lines = done.stdout.decode().splitlines()
        for _, group in groupby(lines, lambda text: text[:6]):
            yield tuple(f".{text[6:]}" for text in group)


@contextmanager
def stages(folder: str) -> Iterator[Path]:
    """A folder that is reachable to everybody, and gone afterwards."""
    base = Path(tempfile.mkdtemp(dir=folder))
    base.chmod(0o755)
    try:
        yield base
    finally:
        shutil.rmtree(base)


def _lines(words: Sequence[str], **more: object) -> list[str]:
    done = subprocess.run(
        words, capture_output=True, timeout=PATIENCE, cwd="/", check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert b"Traceback" not in done.stderr, done.stderr.decode()[-3000:]
    return [one.partition(" ")[2] for one in done.stdout.decode().splitlines()]
