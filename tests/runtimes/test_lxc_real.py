"""LXC and the daemon: containers whose monitors ask over the proxy protocol."""

import errno
import os
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from containers import oci
from containers.runtime import wait_until
from containers.service import Service
from devices import MADE, TRIES

pytestmark = pytest.mark.root

TOLD = [("Mknod", "performed", None), ("Mknod", "answered", "EPERM")]
HURRIED = Path(__file__).with_name("hurried.py")


@pytest.fixture
def lxc(runtimes):
    """The runtime."""
    return runtimes("lxc")


@contextmanager
def monitored(lxc, profile, name, script="exec sleep 600"):
    """A container whose monitor shows its name."""
    started = lxc.ground.run(lxc.start_command(lxc.asked(script, profile, name=name)))
    try:
        assert started.status == 0, started
        yield
    finally:
        lxc.remove(name)


def told(calls):
    """What the daemon says of each call."""
    return [(one["operation"], one["how"], one.get("errno")) for one in calls]


def refused(service):
    """The daemon's complaints of LXC."""
    return service.events(0, "arrival.refused", arrival="lxc")


def test_a_container_arrives_with_its_cookie(lxc, service):
    """With its first call; lxc-execute shows no name, so it is called by its process."""
    before = refused(service)
    finished = lxc.run(TRIES, service.profile(lxc), metadata="a cookie")
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    (arrival,) = service.events(1, "workload.started", metadata="a cookie")
    assert (arrival["arrival"], arrival["workload"]) == ("lxc", f"lxc-{arrival['pid']}")
    assert "uid 0" in arrival["peer"]
    assert told(service.calls(arrival["workload"], 2)) == TOLD
    assert refused(service) == before


def test_what_is_attached_is_supervised_with_it(lxc, service):
    """By the same connection, under the name that the monitor shows."""
    with monitored(lxc, service.profile(lxc), "attached"):
        finished = lxc.enter("attached", ["/bin/sh", "-c", TRIES])
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    assert told(service.calls("attached", 2)) == TOLD
    assert len(service.arrivals("attached", 1)) == 1


def test_each_container_has_its_connection(lxc, service):
    """Two at once, told apart by their cookies; both are supervised."""
    script = "; ".join([f"{TRIES} && rm /tmp/n"] * 5)
    cookies = ("left", "right")
    asked = [lxc.asked(script, service.profile(lxc), metadata=one) for one in cookies]
    begun = [lxc.ground.begin(lxc.run_command(one)) for one in asked]
    assert [one.wait().stdout for one in begun] == [MADE * 5] * 2
    for cookie in cookies:
        (arrival,) = service.events(1, "workload.started", metadata=cookie)
        assert told(service.calls(arrival["workload"], 10)) == TOLD * 5


def test_the_time_limit(lxc):
    """A call that is not answered in time gets ENOSYS, and LXC comes again with the next one."""
    with Service.begin(lxc.ground, "hurried", [str(HURRIED)]) as service:
        begun = time.monotonic()
        script = "mknod /tmp/waits c 1 3; mknod /tmp/second c 1 3; ls /tmp"
        finished = lxc.run(script, service.profile(lxc), metadata="slow")
        assert time.monotonic() - begun < 20
        # The second connection joins what the first one began, if that has not ended quite yet.
        came = "workload.started", "workload.joined"
        first, second = service.events(2, *came, metadata="slow")
        (complaint,) = service.events(1, "arrival.refused")
        calls = service.events(2, "call")
    assert f"/tmp/waits: {os.strerror(errno.ENOSYS)}\n" in finished.stderr
    assert f"/tmp/second: {os.strerror(errno.EXDEV)}\n" in finished.stderr
    assert finished.stdout == ""
    assert told(calls) == [("Mknod", "gone", None), ("Mknod", "answered", "EXDEV")]
    assert first["pid"] == second["pid"]
    assert "lxc-execute" in complaint["peer"]
    assert "no answer within 1 seconds" in complaint["reason"]


def test_killed_while_it_waits(lxc, service):
    """LXC does not notice that a target is gone; it is told, and serves the next call at once."""
    before = refused(service)
    script = """
    mknod /tmp/zeroth c 1 3; mknod /tmp/waits c 1 3 &
    until [ -e /waiting ]; do sleep 0.05; done; kill -9 $!
    mknod /tmp/second c 1 3
    """
    begun = time.monotonic()
    finished = lxc.run(script, service.profile(lxc), metadata="slow", name="killed")
    assert time.monotonic() - begun < 20
    assert f"second: {os.strerror(errno.EXDEV)}" in finished.stderr
    (arrival,) = service.events(1, "workload.started", metadata="slow")
    calls = told(service.calls(arrival["workload"], 3))
    assert [how for _, how, _ in calls] == ["answered", "gone", "answered"]
    assert refused(service) == before


def test_another_notifyd(lxc):
    """A container outlives its supervisor: ENOSYS while there is none, and then it comes again."""
    script = """
    while :; do mknod /tmp/null c 1 3 && rm /tmp/null && echo made; sleep 0.05; done >/tmp/log 2>&1
    """
    log = lxc.rootfs("lasting") / "tmp/log"

    def until(line):
        seen = log.stat().st_size if log.exists() else 0
        wait_until(lambda: log.exists() and line in log.read_text()[seen:], line)

    with ExitStack() as stack:
        with Service.begin(lxc.ground, "lasting-daemon") as service:
            lasting = monitored(lxc, service.profile(lxc), "lasting", script)
            stack.enter_context(lasting)
            until("made\n")
        until("mknod: /tmp/null: Function not implemented\n")
        with Service.begin(lxc.ground, "lasting-daemon") as service:
            until("made\n")
            finished = lxc.enter("lasting", ["/bin/sh", "-c", TRIES])
            arrivals = service.events(2, "workload.started")
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    assert {one["workload"] for one in arrivals} == {"lasting"}
    assert refused(service) == []


def test_an_allowlist(lxc, service):
    """The profile may be of the other kind, as long as it notifies."""
    asked = lxc.asked(TRIES, service.profile(lxc), metadata="listed")
    command = lxc.run_command(asked)
    lxc.seccomp(asked.name).write_text("2\nallowlist allow\n[all]\nmknod notify\nmknodat notify\n")
    finished = lxc.ground.run(command)
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    (arrival,) = service.events(1, "workload.started", metadata="listed")
    assert told(service.calls(arrival["workload"], 2)) == TOLD


def test_no_supervisor(lxc):
    """A container whose proxy is not there ends at once, and makes nothing before."""
    profile = oci.profile("mknod", "mknodat", listener=lxc.folder / "nobody")
    script = "mknod /tmp/null c 1 3 && echo made; sleep 20; echo lasted"
    finished = lxc.run(script, profile, name="alone")
    assert finished.status
    assert finished.stdout == ""
    assert list((lxc.rootfs("alone") / "tmp").iterdir()) == []
