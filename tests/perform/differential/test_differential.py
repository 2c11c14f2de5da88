"""Allow means what the rule saw: the same calls natively and performed, side by side."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from itertools import chain

import pytest
from calltable import extremes, machine, openat2, paths, settings, sockets, xattrs
from calltable.deviations import DEVIATIONS, known
from calltable.runs import Programs, Result, Where

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="other users and namespaces need root"),
    pytest.mark.skipif(
        any(shutil.which(one) is None for one in ("gcc", "unshare", "setpriv")),
        reason="needs gcc, unshare and setpriv",
    ),
]
USER = 1000


def within_reach() -> Iterator[str]:
    """What a notifyd that is no root can do: nobody hides, or is in namespaces of its own."""
    return (one for one in sockets.users() if "unshare" not in one and "prctl" not in one)


# Every so many-th case: all of them (DIFFERENTIAL_EVERY=1) take minutes.
RUNS = {
    "root-tmpfs-plain": (Where("tmpfs", 0), paths.plain, 5),
    "root-tmpfs-at": (Where("tmpfs", 0), paths.at, 5),
    "root-tmpfs-starts": (Where("tmpfs", 0), paths.starts, 7),
    "root-tmpfs-proc": (Where("tmpfs", 0), paths.proc, 3),
    "root-tmpfs-settings": (Where("tmpfs", 0), settings.anybody, 3),
    "root-tmpfs-powers": (Where("tmpfs", 0), settings.root, 3),
    "root-tmpfs-sockets": (Where("tmpfs", 0), sockets.everything, 1),
    "root-disk": (Where("disk", 0), lambda: chain(paths.plain(), settings.root()), 61),
    "root-tmpfs-text": (Where("tmpfs", 0, "text"), paths.everything, 31),
    "user-tmpfs-paths": (Where("tmpfs", USER), paths.everything, 13),
    "user-tmpfs-settings": (Where("tmpfs", USER), settings.anybody, 7),
    "user-tmpfs-sockets": (Where("tmpfs", USER), sockets.users, 2),
    "user-disk": (Where("disk", USER), lambda: chain(paths.at(), settings.anybody()), 71),
    "user-tmpfs-text": (Where("tmpfs", USER, "text"), paths.everything, 37),
    "user-by-user": (Where("tmpfs", USER, "paths", USER), paths.everything, 41),
    "user-by-user-sockets": (Where("tmpfs", USER, "paths", USER), within_reach, 3),
}
RUNS |= {
    "root-openat2": (Where("tmpfs", 0), openat2.root, 41),
    "root-openat2-text": (Where("tmpfs", 0, "text"), openat2.in_root, 11),
    "root-extremes": (Where("tmpfs", 0), extremes.root, 3),
    "root-extremes-text": (Where("tmpfs", 0, "text"), extremes.root, 17),
    "root-results": (Where("tmpfs", 0), openat2.results, 7),
    "root-machine": (Where("tmpfs", 0), machine.root, 11),
    "root-xattrs": (Where("tmpfs", 0), xattrs.everything, 7),
    "user-openat2": (Where("tmpfs", USER), openat2.users, 61),
    "user-extremes": (Where("tmpfs", USER), extremes.anybody, 11),
    "user-results": (Where("tmpfs", USER), openat2.results, 11),
    "user-machine": (Where("tmpfs", USER), machine.users, 13),
    "user-xattrs": (Where("tmpfs", USER), xattrs.everything, 11),
}
EVERYTHING = (paths.everything, settings.anybody, settings.root, sockets.everything)
EVERYTHING += (openat2.root, openat2.results, machine.root, xattrs.everything, extremes.root)
USERS = (paths.everything, settings.anybody, sockets.users)
USERS += (openat2.users, openat2.results, machine.users, xattrs.everything)
RUNS |= {
    "root-known": (Where("tmpfs", 0), lambda: known(chain(*(one() for one in EVERYTHING)), 9), 1),
    "user-known": (Where("tmpfs", USER), lambda: known(chain(*(one() for one in USERS)), 9), 1),
}
needed: set[int] = set()
made: set[str] = set()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The probe and the stage, where other users get at them."""
    folder = tmp_path_factory.mktemp("differential")
    for one in (folder, folder.parent, folder.parent.parent):
        one.chmod(one.stat().st_mode | 0o055)
    return Programs(folder)


def unexplained(results: Iterable[Result], where: Where) -> list[Result]:
    """The results that differ for no known reason; notes which reasons were needed."""
    left = []
    for result in results:
        if not result.difference:
            continue
        reasons = [at for at, one in enumerate(DEVIATIONS) if one.covers(result, where)]
        needed.update(reasons)
        if not reasons:
            left.append(result)
    return left


@pytest.mark.parametrize("name", RUNS)
def test_performed_as_natively(name: str, programs: Programs) -> None:
    """Results, errnos, what was written, the descriptors, and the files afterwards are the same."""
    made.add(name)
    where, cases, every = RUNS[name]
    table = list(cases())[:: int(os.environ.get("DIFFERENTIAL_EVERY", every))]
    found = unexplained(programs.run(table, where), where)
    shown = "\n".join("\n    ".join([one.case, *one.difference]) for one in found[:20])
    assert not found, f"{len(found)} of {len(table)} cases differ:\n{shown}"


def test_every_deviation_is_needed() -> None:
    """One that has gone has to go from the table, and from the documentation."""
    if made != set(RUNS):
        pytest.skip("only some of the runs were made")
    left = [one.why for at, one in enumerate(DEVIATIONS) if at not in needed]
    assert left == []


def test_the_probe_does_not_run_outside_of_its_shelter(programs: Programs) -> None:
    """Where the root directory can be written to it stops before the first case."""
    done = subprocess.run(
        [programs.probe, "/dev/null", "/"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "machine" in done.stderr) == (1, True)
