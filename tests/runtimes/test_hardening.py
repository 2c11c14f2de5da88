"""What the hardening of notifyd.service leaves possible, and what more of it would break."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from containers import oci
from containers.runtime import Asked

pytestmark = pytest.mark.root

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
# These take away what the daemon cannot do without: it says so, and does not start.
FATAL = ("RestrictSUIDSGID=yes", "SystemCallFilter=~@debug")


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
    """Under each line the daemon does not start, or something is refused that was performed."""
    tries = "".join(
        f"""
        anew {shlex.quote(line)} Restart=no
        systemctl reset-failed
        systemctl restart notifyd.service || true
        echo {shlex.quote(line)}: $(the ActiveState)
        if under deeds sh -eu -c {shlex.quote(DEEDS[deed])}
        then echo {shlex.quote(line)} would do; fi
        """
        for line, deed in BAD.items()
    )
    said = booted("cd /root" + tries).splitlines()
    states = {line: "failed" if line in FATAL else "active" for line in BAD}
    assert [one for one in said if one.startswith(tuple(f"{line}: " for line in BAD))] == [
        f"{line}: {state}" for line, state in states.items()
    ]
    assert [line for line in said if line.endswith("would do")] == []


def test_a_user_namespace(booted) -> None:
    """A helper joins it, and has no more power there than the program."""
    said = booted(f"""
        systemctl start notifyd.service
        apart() {{ under deeds unshare --user --map-root-user "$@"; }}
        cd /tmp && apart sh -eu -c {shlex.quote(DEEDS["files"])}
        apart mknod disk b 8 0 2>/dev/null || echo refused
    """)
    assert said == "refused\n"


CONTAINER = (
    "/bin/mknod /null c 1 3 && echo x >/null && echo made; /bin/mknod /disk b 8 0 || echo no"
)


def test_a_container_starts_the_service_and_makes_a_device(booted) -> None:
    """Runc's listener is the first arrival; the daemon that it starts makes null, and no disk."""
    profile = oci.profile("mknod", "mknodat", listener=Path("/run/notifyd/oci.sock"))
    asked = Asked("box", CONTAINER, profile, {}, False, "x")
    config = json.dumps(oci.config(asked, Path("rootfs")))
    said = booted(f"""
        sed -i '/^options.name/d; s/"fake-hostname"/"harmless-devices"/' /etc/notifyd/notifyd.toml
        systemctl start notifyd.socket
        mkdir -p /root/box/rootfs/bin /root/box/rootfs/proc /root/box/rootfs/dev && cd /root/box
        for name in busybox sh mknod; do cp "$(command -v busybox)" rootfs/bin/$name; done
        printf '%s' {shlex.quote(config)} >config.json
        is ActiveState inactive
        # nspawn has them read-only.
        for group in /sys/fs/cgroup/*; do mount -o remount,rw,bind $group; done
        runc run --no-new-keyring box 2>/dev/null
        is ActiveState active
        calls() {{ grep '"event":"call"' /var/log/notifyd/events.jsonl; }}
        both() {{ [ "$(calls | wc -l)" = 2 ]; }}
        soon both
        calls
    """)
    made, no, *events = said.splitlines()
    calls = [json.loads(line) for line in events]
    assert (made, no) == ("made", "no")
    assert [(one["workload"], one["how"]) for one in calls] == [
        ("box", "performed"),
        ("box", "answered"),
    ]
