"""CPython's own tests of files and sockets, with every call performed: each ends as it does alone.

They ship with Python, or with Debian's libpython3-testsuite; .ci/prepare installs that.
"""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).parent
PERFORMER = ("--rules", str(HERE / "rules" / "performer.py"))
BECOME = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
PATIENCE = 240.0  # seconds for a suite of a thousand tests on a busy machine

# What is not run, as patterns of regrtest's -i, by suite: what only takes long, or must not.
LEFT_OUT = {
    "test_os": [
        "*test_walk_many_open_files",  # walks the same tree a hundred times
        "*test_utime_current*",  # allows fifty milliseconds from a look at the clock to the call
    ],
    "test_socket": [
        "*VSOCK*",  # waits for ever for a hypervisor that does not answer, also alone
        "*Timeout*",  # seconds of waiting, or as many calls as fit into five seconds
        "*testSendmsgDontWait",  # fills a buffer of megabytes within five seconds
    ],
}
# How a test ends under notifyd, if otherwise than alone, by its name, with the reason: one of those
# in docs/explanation/what-allow-means.md, "What cannot be kept". There is none at present.
DEVIATIONS: dict[str, tuple[list[str], str]] = {}


def words(suite, report):
    """The command that runs a suite and writes how each test ended."""
    left_out = [word for pattern in LEFT_OUT.get(suite, []) for word in ("-i", pattern)]
    return ["/usr/bin/env", "-u", "PYTHONPATH", sys.executable, "-m", "test", suite, *left_out,
            "--junit-xml", str(report)]  # fmt: skip


def ends(report):
    """How each test ended, by name: `[]` is well, else `skipped`, `failure`, `error`."""
    kinds = ("skipped", "failure", "error")
    return {
        case.get("name"): sorted({kind for kind in kinds if case.find(kind) is not None})
        for case in ElementTree.parse(report).iter("testcase")
    }


@pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import test.test_os"], capture_output=True).returncode,
    reason="this Python came without its tests: .ci/prepare tools",
)
@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=pytest.mark.root)])
@pytest.mark.parametrize(
    "suite", ["test_os", "test_posix", "test_shutil", "test_tempfile", "test_socket"]
)
def test_a_suite(suite, user, run, here):
    """Every test passes, fails and is skipped as it is alone."""
    alone, ours = here / "alone.xml", here / "ours.xml"
    how = {"cwd": here, "stdin": subprocess.DEVNULL}
    before = BECOME if user else ()
    options = ("--user", user) if user else ()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*before, *words(suite, alone)], **quiet, **how) as process:
        ours_ran = run(
            *PERFORMER, *options, "--", *words(suite, ours), broken=True, patience=PATIENCE, **how
        )
        process.wait(PATIENCE)
    assert ours.exists(), f"it wrote no report: {ours_ran}"
    expected, found = ends(alone), ends(ours)
    assert len(expected) > 50
    assert sum(not kinds for kinds in expected.values()) > len(expected) / 2
    differing = {
        name: found.get(name)
        for name in expected.keys() | found.keys()
        if found.get(name) != expected.get(name)
    }
    known = {name: DEVIATIONS[name][0] for name in expected.keys() & DEVIATIONS.keys()}
    assert differing == known, ours_ran.out[-5000:]
