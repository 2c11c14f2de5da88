"""bubblewrap: it holds /proc by a descriptor, leaves its mount namespace, exchanges its root."""

import os
import shutil

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="other users need root"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]
LOOKS = """
@on(*PATH_OPERATIONS)
def looks(call):
    call.paths
    return Allow()
"""
SEES = "echo $$; cat /proc/self/comm; readlink /proc/self/exe; ls / | head -n 3; id -u"


@pytest.mark.parametrize("user", ["", "1000:1000"], ids=["root", "user"])
def test_bubblewrap_starts(user, rule, run, native):
    """Under a rule that looks at every path and allows, as natively; by root and by a user."""
    words = ("bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "sh", "-c", SEES)
    ids = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups") if user else ()
    natively = native(*ids, *words, cwd="/")
    option = ("--user", user) if user else ()
    ran = run(*option, "--rules", rule(LOOKS), "--", *words, cwd="/")
    assert (natively.status, ran.status) == (0, 0), natively.err + ran.err
    assert ran.lines == natively.lines
