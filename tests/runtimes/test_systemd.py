"""The units under systemd itself: started by a socket, ready, reloaded, watched, stopped.

Each test boots a system of its own over this machine's files, which takes half a second.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = shlex.quote(sys.executable)

# What the service executes. The tests know of it that a connection to `native` and `control` with a
# word is answered, by whom and over what.
COMMAND = f"{PYTHON} -B {HERE / 'daemon.py'}"

LIMIT = 90  # seconds for one boot and all that a test does in it

# In front of every script. `ask SOCKET WORD` is one connection; `the PROPERTY` asks systemd of the
# service; `soon COMMAND` tries it until it is true, and `drop LINE...` changes the service.
PRELUDE = f"""
install -m 644 -D -t /usr/local/lib/systemd/system {ROOT}/systemd/*.service {ROOT}/systemd/*.socket
install -m 644 -D -t /usr/local/lib/sysusers.d {ROOT}/systemd/sysusers.d/*
install -m 644 -D -t /usr/local/lib/tmpfiles.d {ROOT}/systemd/tmpfiles.d/*
systemd-sysusers 2>/dev/null && systemd-tmpfiles --create notifyd.conf
ask() {{
    {PYTHON} -S -E -c 'if 1:
        import socket, sys
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/run/notifyd/{{sys.argv[1]}}.sock")
            client.send(sys.argv[2].encode())
            print(client.recv(1000).decode(), end="")' "$@"
}}
the() {{ systemctl show --value -p "$1" notifyd.service; }}
is() {{ [ "$(the "$1")" = "$2" ]; }}
soon() {{
    for _ in $(seq 200); do if "$@"; then return; fi; sleep 0.05; done
    echo "never true: $*"; systemctl status notifyd.service; journalctl -u notifyd.service; exit 1
}}
drop() {{
    mkdir -p /etc/systemd/system/notifyd.service.d
    {{ echo '[Service]'; printf '%s\\n' "$@"; }} >>/etc/systemd/system/notifyd.service.d/test.conf
    systemctl daemon-reload
}}
drop ExecStart= 'ExecStart={COMMAND}'
"""

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root boots a system"),
]


@pytest.fixture
def booted(tmp_path: Path) -> Callable[[str], str]:
    """Boots a system with the units in it and runs a shell script there; returns what it printed.

    The script ends at its first command that fails, and then the test does.
    """
    assert shutil.which("systemd-nspawn"), "the tests need the package systemd-container"
    shared, root = tmp_path / "shared", tmp_path / "root"
    shared.mkdir()
    root.mkdir()
    seen = {str(ROOT), sys.prefix, sys.base_prefix} - {"/usr"}

    def boot(script: str) -> str:
        (shared / "script").write_text(PRELUDE + script)
        command = [str(HERE / "booted.sh"), str(shared), str(root), *sorted(seen)]
        done = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True, check=False)
        said, log = (_read(shared / name) for name in ("said", "log"))
        assert done.returncode == 0, f"{said}\n{log}\n{done.stderr}"
        assert list(root.iterdir()) == []
        return said

    return boot


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def test_sockets_wait_for_their_first_peer(booted) -> None:
    """One command enables all; each with its mode and group; the service does not run yet."""
    said = booted("""
        systemctl enable --quiet --now notifyd.socket
        for name in lxc native control; do soon systemctl -q is-active notifyd-$name.socket; done
        ls /etc/systemd/system/sockets.target.wants
        stat -c '%n %a %U %G' /run/notifyd /run/notifyd/*
        the ActiveState
    """)
    assert said.splitlines() == [
        "notifyd-control.socket",
        "notifyd-lxc.socket",
        "notifyd-native.socket",
        "notifyd.socket",
        "/run/notifyd 755 root root",
        "/run/notifyd/control.sock 600 root root",
        "/run/notifyd/lxc.sock 600 root root",
        "/run/notifyd/native.sock 660 root notifyd",
        "/run/notifyd/oci.sock 600 root root",
        "inactive",
    ]


def test_a_connection_starts_it(booted) -> None:
    """The very first peer is answered; each socket has its name and came from systemd."""
    said = booted("""
        systemctl start notifyd.socket
        ask native hello
        soon is SubState running
        for name in oci control; do ask $name hello; done
        echo "pid=$(the MainPID)"
        journalctl -u notifyd.service --grep unknown || echo nothing refused
    """)
    lines = said.splitlines()
    pid = lines[3]
    assert lines[:3] == [f"{name} given {pid} reloads=0" for name in ("native", "oci", "control")]
    assert lines[-1] == "nothing refused"


def test_a_start_waits_until_it_is_ready(booted) -> None:
    """Without READY it is no start."""
    said = booted("""
        systemctl start notifyd.service
        is ActiveState active
        drop 'Environment=NOTIFY_SOCKET=' 'TimeoutStartSec=1' 'Restart=no'
        drop ExecStart= 'ExecStart=/usr/bin/env -u NOTIFY_SOCKET sleep 100'
        systemctl restart notifyd.service 2>/dev/null && exit 1
        the Result
    """)
    assert said == "timeout\n"


def test_reload(booted) -> None:
    """The same process; its status shows in systemctl."""
    said = booted("""
        systemctl start notifyd.service
        ask control hello
        systemctl reload notifyd.service
        soon is StatusText 'reloaded 1 times'
        soon is SubState running
        ask control hello
        the NRestarts
    """)
    first, second, restarts = said.splitlines()
    assert second == first.replace("reloads=0", "reloads=1")
    assert restarts == "0"


@pytest.mark.parametrize("how", ["hang", "sick"])
def test_the_watchdog(booted, how: str) -> None:
    """A hung loop, and one that says that something is wrong, is killed and started anew.

    The sockets are systemd's, so whoever connects meanwhile is answered by the next one.
    """
    said = booted(f"""
        drop WatchdogSec=1s
        systemctl start notifyd.service
        before=$(the MainPID)
        sleep 2.5
        is MainPID $before && is NRestarts 0
        ask control {how} || true
        ask native hello >/run/test/answer
        soon is NRestarts 1
        soon is SubState running
        ask control hello
        echo "pid=$(the MainPID) $before"
        journalctl -q -u notifyd.service --grep 'Watchdog timeout' | wc -l
    """)
    if how == "sick":
        said = said.partition("\n")[2]
    answer, pids, timeouts = said.splitlines()
    after, before = pids.split()
    assert answer == f"control given {after} reloads=0"
    assert after != f"pid={before}"
    assert timeouts == "1"


def test_stop(booted) -> None:
    """Stopped in order, and started again by the next connection: the sockets outlived it."""
    said = booted("""
        systemctl start notifyd.service
        systemctl stop notifyd.service 2>/dev/null
        the Result
        the ExecMainStatus
        ask control hello | cut -d ' ' -f 1,2
        systemctl stop notifyd.socket notifyd-lxc.socket notifyd-native.socket \\
            notifyd-control.socket notifyd.service
        find /run/notifyd
    """)
    assert said.splitlines() == ["success", "0", "control given", "/run/notifyd"]


def test_without_sockets_from_systemd(booted) -> None:
    """It makes its own, in the same place, and removes them."""
    said = booted("""
        systemctl mask --quiet notifyd.socket notifyd-lxc.socket notifyd-native.socket \\
            notifyd-control.socket
        systemctl start notifyd.service
        ask control hello | cut -d ' ' -f 1,2
        find /run/notifyd | wc -l
        systemctl stop notifyd.service
        find /run/notifyd
    """)
    assert said.splitlines() == ["control made", "5", "/run/notifyd"]


def test_a_usage_error_is_not_tried_again(booted) -> None:
    """A person has to mend it."""
    said = booted("""
        drop ExecStart= "ExecStart=/bin/sh -c 'exit 2'"
        systemctl start notifyd.service 2>/dev/null && exit 1
        sleep 0.5
        the ActiveState; the NRestarts; the ExecMainStatus
    """)
    assert said.splitlines() == ["failed", "0", "2"]


DEEDS = """
mknod null c 1 3; echo x >null; mkdir -p a/b; touch a/file; mv a/file a/b; chown 1:1 a/b/file
chmod 4755 a/b/file; ln -s b a/link; rm -r a; hostname here; chrt -f 3 true
mount -t tmpfs none /mnt; umount /mnt
"""


@pytest.mark.parametrize("where", ["nsenter -t 1 -m", "nsenter -t 1 -m unshare -m chroot /"])
def test_the_hardening_leaves_what_it_needs(booted, where: str) -> None:
    """Under it, the calls of programs in other mount namespaces are performed, not refused."""
    supervised = (
        f"{PYTHON} -B -m notifyd run --audit /var/log/notifyd/audit.jsonl --rules harmless-devices "
        f"--rules {ROOT}/tests/run/rules/performer.py -- {where} sh -eux /root/deeds"
    )
    said = booted(f"""
        printf '%s' {shlex.quote("cd /root; " + DEEDS)} >/root/deeds
        drop ExecStart= 'ExecStart={supervised}' Type=exec Restart=no
        systemctl start --wait notifyd.service || true
        the ExecMainStatus
        stat -c '%F %t %T' /root/null; hostname
        grep -c '"how":"performed"' /var/log/notifyd/audit.jsonl
        journalctl -q -o cat -u notifyd.service
    """)
    status, node, name, performed, *_ = said.splitlines()
    assert (status, node, name) == ("0", "character special file 1 3", "here"), said
    assert int(performed) > 100
