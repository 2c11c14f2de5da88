"""Running the table: natively and performed, in equal stages, and putting the two side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from calltable.language import line

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[2]
PATIENCE = 120.0  # seconds for one run of a batch
BATCH = 500  # cases; their places are numbered with four digits, and a run has its patience


@dataclass(frozen=True)
class Where:
    """Who makes the calls, and on which file system.

    Attributes:
        kind: `tmpfs`, or `disk` for the machine's own file system.
        user: user and group id; 0 for root.
        look: `paths`, or `text` for a rule that looks at no resolved path.
        supervised_by: the user id of notifyd itself.
    """

    kind: str
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


# The machine is out of reach: the calls of the table would change /dev/null, by its name or as what
# is read from (descriptor 0 is in the table too), or the root directory.
# All that is writable is $BASE, of the kind $KIND.
SHELTER = """
set -e
mount -t tmpfs -o mode=755 none /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
ln -s /proc/self/fd /dev/fd
mount -o remount,ro /dev
exec </dev/null
if [ $KIND = tmpfs ]; then mount -t tmpfs -o mode=755 none $BASE; else mount --bind $BASE $BASE; fi
mount -o remount,bind,ro /
cd /
mkdir $BASE/way
$STAGE make $BASE/way $COUNT $OWNER $OWNER
"$@"
echo
$STAGE dump $BASE/way
"""


class Programs:
    """The two programs, built in `folder`, which everybody can reach."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.probe, self.stage = str(folder / "probe"), str(folder / "stage")
        for target in (self.probe, self.stage):
            source = HERE / f"{Path(target).name}.c"
            subprocess.run(["gcc", "-O1", "-Wall", "-o", target, str(source)], check=True)

    def run(self, cases: Sequence[str], where: Where) -> list[Result]:
        """Run every case both ways."""
        batches = (cases[start : start + BATCH] for start in range(0, len(cases), BATCH))
        return [result for batch in batches for result in self._both_ways(batch, where)]

    def _both_ways(self, cases: Sequence[str], where: Where) -> list[Result]:
        table = self._folder / "table"
        table.write_text("".join(f"{line(case)}\n" for case in cases))
        probe = [self.probe, str(table)]
        natively = self._run(where, len(cases), [*_as(where.user), *probe])
        performed = self._run(where, len(cases), [*_notifyd(where), *probe])
        return [Result(*one) for one in zip(cases, natively, performed, strict=True)]

    def _run(self, where: Where, count: int, words: Sequence[str]) -> list[tuple[str, ...]]:
        base = str(self._folder / "base")  # always the same, since it shows in what is printed
        shutil.rmtree(base, ignore_errors=True)
        os.mkdir(base, 0o755)
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "DIFFERENTIAL_LOOK": where.look,
            "KIND": where.kind, "BASE": base, "STAGE": self.stage, "COUNT": str(count),
            "OWNER": str(where.user),
        }  # fmt: skip
        shelter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SHELTER, "sh"]
        done = subprocess.run(
            [*shelter, *words, f"{base}/way"],
            env=env, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        complaint = done.stderr.decode()[-3000:]
        assert done.returncode == 0, complaint
        assert "Traceback" not in complaint, complaint
        said, _, dumped = done.stdout.decode().partition("\n\n")
        answers = [one.partition(" ")[2] for one in said.splitlines()]
        stages = [tuple(group) for _, group in groupby(dumped.splitlines(), lambda one: one[:6])]
        assert len(answers) == len(stages) == count, (len(answers), len(stages), said[-300:])
        return [
            (answer, *(one[6:] for one in stage))
            for answer, stage in zip(answers, stages, strict=True)
        ]


def _as(user: int) -> list[str]:
    words = ["setpriv", "--clear-groups", f"--reuid={user}", f"--regid={user}"]
    return words if user else []


def _notifyd(where: Where) -> list[str]:
    words = [sys.executable, "-m", "notifyd", "run", "--quiet", "--rules"]
    words.append(str(HERE / "everything.py"))
    if where.user and not where.supervised_by:
        words += ["--user", f"{where.user}:{where.user}"]
    return [*_as(where.supervised_by), *words, "--"]
