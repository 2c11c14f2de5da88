"""Whom a peer may speak for, and what it is called."""

import os
import subprocess
from pathlib import Path

import pytest

from notifyd.errors import PeerError
from notifyd.intake import lxc_peer
from notifyd.intake.arrival import Peer


@pytest.mark.root
def test_whose_threads(tmp_path):
    """Of its own user, or in a user namespace of its making; root's and ours are anybody's."""
    stranger = Peer(0, 54321, 54321, "")
    assert lxc_peer.may_ask(Peer(0, 0, 0, ""), os.getpid())
    assert not lxc_peer.may_ask(stranger, os.getpid())
    assert not lxc_peer.may_ask(stranger, 1)
    assert not lxc_peer.may_ask(stranger, 1 << 22)
    lower = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    for more in ([], ["unshare", "-Ur"], ["unshare", "-Ur", "unshare", "-Ur"]):
        line = [*lower, *more, "sh", "-c", "echo; exec sleep 100"]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            assert lxc_peer.may_ask(stranger, process.pid), more
            assert not lxc_peer.may_ask(Peer(0, 54322, 54322, ""), process.pid)
            process.kill()


def test_another_pid_namespace(tmp_path):
    """Its thread ids would be others here."""
    lxc_peer.check_pids(Peer(os.getpid(), 0, 0, ""))
    with pytest.raises(PeerError, match="cannot be looked at"):
        lxc_peer.check_pids(Peer(1 << 22, 0, 0, ""))
    line = ["unshare", "-Urpf", "--kill-child", "sh", "-c", "echo; exec sleep 100"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (inner,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        with pytest.raises(PeerError, match="another pid namespace"):
            lxc_peer.check_pids(Peer(int(inner), 0, 0, ""))
        process.kill()


def test_the_name_in_a_title(tmp_path):
    """As lxc-start shows it; other titles show none."""
    for title, name in (("[lxc monitor] /var/lib/lxc web", "web"), ("sleep", "")):
        line = ["bash", "-c", 'exec -a "$0" sleep 100', title]
        with subprocess.Popen(line) as process:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes().endswith(b"100\0"):
                os.sched_yield()
            found = lxc_peer.title_of(process.pid)[1]
            process.kill()
        assert found == name
    assert lxc_peer.title_of(1 << 22) == ("", "")
