"""`notifyd serve` under systemd: started by a socket, ready, reloaded, watched, stopped.

Each test boots a system of its own over this machine's files, which takes half a second.
"""

import errno
import json
import os

import pytest

pytestmark = pytest.mark.root


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
        journalctl --sync
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
        is ActiveState active
        grep -q '"service.ready"' /var/log/notifyd/events.jsonl
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
        systemctl reload notifyd.service 2>/dev/null && exit 1
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
        drop WatchdogSec=3s
        systemctl start notifyd.service
        before=$(the MainPID)
        sleep 4
        is MainPID $before
        is NRestarts 0
        under hangs uname -n >/dev/null 2>&1 &
        soon test -e /var/log/notifyd/hung
        under named uname -n
        is NRestarts 1
        [ $before != "$(the MainPID)" ]
        journalctl --sync
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
        journalctl --sync
        journalctl -q -o cat -u notifyd.service | grep -c notifyd.toml:
    """)
    assert said.splitlines() == ["failed", "0", "2", "1"]


def test_a_socket_elsewhere_has_to_be_allowed(booted) -> None:
    """The service writes in its own folders alone; the line in the log says how to change that."""
    said = booted("""
        sed -i s,/run/notifyd/oci,/srv/oci, /etc/notifyd/notifyd.toml
        systemctl mask --quiet notifyd.socket
        systemctl start notifyd.service 2>/dev/null && exit 1
        journalctl --sync
        journalctl -q -o cat -u notifyd.service | grep -c ReadWritePaths=
        drop ReadWritePaths=/srv
        systemctl start notifyd.service
        ls /srv
    """)
    assert said.splitlines() == ["1", "oci.sock"]


@pytest.mark.parametrize(
    "end", ["kill -KILL $before", "systemctl restart notifyd.service"], ids=["killed", "restarted"]
)
def test_no_call_is_lost(booted, end: str) -> None:
    """Neither what waits when the daemon ends, nor what comes before the next one is there."""
    said = booted(f"""
        systemctl start notifyd.service
        before=$(the MainPID)
        {{ under waits uname -n; echo waited $?; }} >/run/waited &
        script='uname -n; until [ -e /run/go ]; do :; done; uname -n'
        under named sh -c "$script" >/run/named &
        calling() {{ [ $(grep -c '"workload.started"' /var/log/notifyd/events.jsonl) = 2 ]; }}
        soon calling
        soon test -e /var/log/notifyd/waits
        soon test -s /run/named
        {end}
        later() {{ [ "$(the MainPID)" != $before ] && is SubState running; }}
        soon later
        sleep 0.2
        touch /run/go
        wait
        cat /run/waited /run/named
        grep -c '"workload.restored"' /var/log/notifyd/events.jsonl
        gone() {{ [ "$(the NFileDescriptorStore)" = 0 ]; }}
        soon gone
    """)
    assert said.splitlines() == ["waited", "waited 0", "first", "first", "2"]


def test_crash_after_crash(booted) -> None:
    """Six in a row, which is more than systemd's limit: what is supervised stays so."""
    said = booted("""
        systemctl start notifyd.socket notifyd-native.socket notifyd.service
        script='until [ -e /run/go ]; do :; done; uname -n'
        under named sh -c "$script" >/run/named &
        calling() { grep -q '"workload.started"' /var/log/notifyd/events.jsonl; }
        soon calling
        later() { [ "$(the MainPID)" != $before ] && is SubState running; }
        for _ in 1 2 3 4 5 6; do
            before=$(the MainPID)
            kill -KILL $before
            soon later
        done
        the NRestarts; the StartLimitIntervalUSec
        touch /run/go
        wait
        cat /run/named
        under named uname -n
    """)
    assert said.splitlines() == ["6", "0", "first", "first"]


def test_a_stop_lets_everything_go(booted) -> None:
    """Calls that wait are refused, and later ones get ENOSYS, since nobody comes after it."""
    said = booted("""
        systemctl start notifyd.service
        { under waits sh -c 'uname -n; uname -n' 2>&1; echo $?; } >/run/waited &
        calling() { grep -q '"workload.started"' /var/log/notifyd/events.jsonl; }
        soon calling
        soon test -e /var/log/notifyd/waits
        systemctl stop 'notifyd*.socket' notifyd.service
        wait
        cat /run/waited
        the NFileDescriptorStore
    """)
    assert os.strerror(errno.EPERM) in said
    assert said.splitlines()[-1] == "0"
