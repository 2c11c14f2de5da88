"""`notifyd serve` under systemd: started by a socket, ready, reloaded, watched, stopped.

Each test boots a system of its own over this machine's files, which takes half a second.
"""

from __future__ import annotations

import json
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
NOTIFYD = f"{shlex.quote(sys.executable)} -B -m notifyd"

LIMIT = 120  # seconds for one boot and all that a test does in it

CONFIG = f"""
audit = "/var/log/notifyd/events.jsonl"
watch = false
[sockets]
oci.path = "/run/notifyd/oci.sock"
lxc.path = "/run/notifyd/lxc.sock"
native = {{ path = "/run/notifyd/native.sock", group = "notifyd", users = "any" }}
control = {{ path = "/run/notifyd/control.sock", mode = "0600" }}
[[workload]]
name = "named"
rules = ["fake-hostname"]
options.name = "first"
[[workload]]
name = "hangs"
rules = ["{HERE}/rules/hangs.py"]
[[workload]]
name = "deeds"
rules = [
    "harmless-devices", "bind-low-ports",
    "{HERE}/rules/deeds.py", "{ROOT}/tests/run/rules/performer.py",
]
"""

# In front of every script. `under SECTION COMMAND` runs it under the daemon, `the PROPERTY` asks
# systemd of the service; `soon COMMAND` tries it until it is true; `drop LINE...` changes the
# service, and `anew LINE...` forgets the changes before.
PRELUDE = f"""
install -m 644 -D -t /usr/local/lib/systemd/system {ROOT}/systemd/*.service {ROOT}/systemd/*.socket
install -m 644 -D -t /usr/local/lib/sysusers.d {ROOT}/systemd/sysusers.d/*
install -m 644 -D -t /usr/local/lib/tmpfiles.d {ROOT}/systemd/tmpfiles.d/*
systemd-sysusers 2>/dev/null && systemd-tmpfiles --create notifyd.conf
cat >/etc/notifyd/notifyd.toml <<'TOML'
{CONFIG}
TOML
changes=/etc/systemd/system/notifyd.service.d/test.conf
under() {{ section=$1; shift; {NOTIFYD} run --quiet --service --section "$section" -- "$@"; }}
the() {{ systemctl show --value -p "$1" notifyd.service; }}
is() {{ [ "$(the "$1")" = "$2" ]; }}
soon() {{
    for _ in $(seq 200); do if "$@"; then return; fi; sleep 0.05; done
    echo "never true: $*"; systemctl status notifyd.service; journalctl -u notifyd.service; exit 1
}}
drop() {{ printf '%s\\n' "$@" >>$changes; systemctl daemon-reload; }}
anew() {{
    mkdir -p $(dirname $changes)
    printf '%s\\n' '[Service]' ExecStart= 'ExecStart={NOTIFYD} serve' "$@" >$changes
    systemctl daemon-reload
}}
anew
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


def test_an_arrival_starts_it(booted) -> None:
    """The very first peer is served; each socket has its name and came from systemd."""
    said = booted("""
        systemctl start notifyd.socket notifyd-native.socket
        under named uname -n
        the ActiveState
        journalctl -q -u notifyd.service --grep 'socket.refused' || echo nothing refused
        grep '"service.ready"' /var/log/notifyd/events.jsonl
    """)
    name, state, refused, ready = said.splitlines()
    assert (name, state, refused) == ("first", "active", "nothing refused")
    sockets = {one: f"/run/notifyd/{one}.sock" for one in ("oci", "lxc", "native", "control")}
    assert json.loads(ready)["sockets"] == sockets


def test_a_start_waits_until_it_is_ready(booted) -> None:
    """What never says so has not started."""
    said = booted("""
        systemctl start notifyd.service
        is ActiveState active && grep -q '"service.ready"' /var/log/notifyd/events.jsonl
        drop TimeoutStartSec=1 Restart=no ExecStart= 'ExecStart=sleep 100'
        systemctl restart notifyd.service 2>/dev/null && exit 1
        the Result
    """)
    assert said == "timeout\n"


def test_reload(booted) -> None:
    """The same process with new rules; a mistake leaves it and the old ones as they are."""
    said = booted("""
        systemctl start notifyd.service
        before=$(the MainPID)
        under named uname -n
        sed -i s/first/second/ /etc/notifyd/notifyd.toml
        systemctl reload notifyd.service
        named() { [ "$(under named uname -n)" = $1 ]; }
        soon named second
        echo nonsense >>/etc/notifyd/notifyd.toml
        systemctl reload notifyd.service
        soon grep -q '"rules.rejected"' /var/log/notifyd/events.jsonl
        soon is SubState running
        under named uname -n
        is MainPID $before && the NRestarts
    """)
    assert said.splitlines() == ["first", "second", "0"]


def test_the_watchdog(booted) -> None:
    """A loop that hangs in a rule is killed and started anew; one that does not is left alone.

    The sockets are systemd's, so whoever connects meanwhile is served by the next one.
    """
    said = booted("""
        drop WatchdogSec=1s
        systemctl start notifyd.service
        before=$(the MainPID)
        sleep 2.5
        is MainPID $before && is NRestarts 0
        under hangs uname -n >/dev/null 2>&1 &
        soon grep -q '"hangs"' /var/log/notifyd/events.jsonl
        under named uname -n
        is NRestarts 1 && [ $before != "$(the MainPID)" ]
        journalctl -q -o cat -u notifyd.service --grep 'Watchdog timeout' | wc -l
    """)
    assert said.splitlines() == ["first", "1"]


def test_stop(booted) -> None:
    """Stopped in order, and started again by the next arrival: the sockets outlived it."""
    said = booted("""
        systemctl start notifyd.service
        systemctl stop notifyd.service 2>/dev/null
        the Result; the ExecMainStatus
        grep -c '"service.stopping"' /var/log/notifyd/events.jsonl
        under named uname -n
        systemctl stop 'notifyd*.socket' notifyd.service
        find /run/notifyd
    """)
    assert said.splitlines() == ["success", "0", "1", "first", "/run/notifyd"]


def test_without_sockets_from_systemd(booted) -> None:
    """It makes its own, in the same place, and removes them."""
    said = booted("""
        systemctl mask --quiet notifyd.socket notifyd-lxc.socket notifyd-native.socket \\
            notifyd-control.socket
        systemctl start notifyd.service
        under named uname -n
        stat -c '%n %a %G' /run/notifyd/*
        systemctl stop notifyd.service
        find /run/notifyd
    """)
    assert said.splitlines() == [
        "first",
        "/run/notifyd/control.sock 600 root",
        "/run/notifyd/lxc.sock 660 root",
        "/run/notifyd/native.sock 660 notifyd",
        "/run/notifyd/oci.sock 660 root",
        "/run/notifyd",
    ]


def test_a_mistake_is_not_tried_again(booted) -> None:
    """A person has to mend it; the log says what."""
    said = booted("""
        echo 'rules = 3' >>/etc/notifyd/notifyd.toml
        systemctl start notifyd.service 2>/dev/null && exit 1
        sleep 0.5
        the ActiveState; the NRestarts; the ExecMainStatus
        journalctl -q -o cat -u notifyd.service | grep -c notifyd.toml:
    """)
    assert said.splitlines() == ["failed", "0", "2", "1"]


DEEDS = {
    "device": "rm -f null; mknod null c 1 3; echo x >null",
    "files": "mkdir -p a/b; touch a/f; mv a/f a/b; chmod 4755 a/b/f; ln -s b a/l; rm -r a",
    "owner": "touch a; chown 1:1 a; rm a",
    "mount": "mount -t tmpfs none /mnt; umount /mnt",
    "name": "hostname here",
    "scheduler": "chrt -f 3 true",
    "port": f"{sys.executable} -c 'import socket; socket.socket().bind((\"127.0.0.1\", 80))'",
}
BAD = {
    "PrivateDevices=yes": "device",
    "RestrictSUIDSGID=yes": "files",
    "RestrictNamespaces=yes": "files",
    "PrivateUsers=yes": "files",
    "CapabilityBoundingSet=~CAP_SYS_PTRACE": "files",
    "CapabilityBoundingSet=~CAP_SYS_ADMIN": "files",
    "SystemCallFilter=~@privileged": "owner",
    "SystemCallFilter=~@mount": "mount",
    "ProtectHostname=yes": "name",
    "RestrictRealtime=yes": "scheduler",
    "SystemCallFilter=~@debug": "port",
}


@pytest.mark.parametrize("where", ["", "unshare --mount chroot /", "unshare --uts --ipc --mount"])
def test_the_hardening_leaves_what_it_needs(booted, where: str) -> None:
    """Calls from outside the service, and from namespaces of their own, are performed."""
    deeds = "\n".join(DEEDS.values())
    said = booted(f"""
        systemctl start notifyd.service
        cd /root && under deeds {where} sh -eu -c {shlex.quote(deeds)}
        grep -v '"performed"' /var/log/notifyd/events.jsonl | grep -c '"errno":"EPERM"' || true
        grep -o '"operation":"[A-Za-z]*".*"how":"performed"' /var/log/notifyd/events.jsonl |
            cut -d '"' -f 4 | sort -u
    """)
    refused, *performed = said.splitlines()
    wanted = {"Bind", "Chmod", "Chown", "Mkdir", "Mknod", "Mount", "Open", "Rename", "SetHostname"}
    assert refused == "0"
    assert wanted | {"SchedSetScheduler", "Stat", "Symlink", "Umount", "Unlink"} <= set(performed)


def test_hardening_that_cannot_be_used(booted) -> None:
    """Under each line the daemon starts, and then something that was performed before is not."""
    tries = "".join(
        f"""
        anew {shlex.quote(line)} Restart=no
        systemctl reset-failed
        systemctl restart notifyd.service || true
        the ActiveState
        if under deeds sh -eu -c {shlex.quote(DEEDS[deed])}
        then echo {shlex.quote(line)} would do; fi
        """
        for line, deed in BAD.items()
    )
    said = booted("cd /root" + tries).splitlines()
    assert said.count("active") == len(BAD), said
    assert [line for line in said if line.endswith("would do")] == []
