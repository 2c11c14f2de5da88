"""Listeners that reach a real daemon over its sockets, and what they get."""

import json
import os
import subprocess
import sys
import time

import pytest

CONTAINERS = """
[sockets.oci]
path = "{here}/oci.sock"
[[workload]]
name = "harmless"
rules = ["harmless-devices"]
match.metadata = "devices"
[[workload]]
name = "named"
rules = ["fake-hostname"]
options.name = "elsewhere"
match.annotations."org.example/tier" = "front*"
"""


def _status(spawned) -> int:
    end = time.monotonic() + 20
    while (status := spawned.reap()) is None and time.monotonic() < end:
        time.sleep(0.01)
    assert status is not None
    return status


def _give(service, spawned, message, **more) -> None:
    service.send("oci", message, [spawned.listener], **more)
    os.close(spawned.listener)
    spawned.listener = None


def test_different_metadata_different_rules(serve, behind, tmp_path):
    """The section is chosen by metadata or annotations; events carry id and annotations."""
    service = serve(CONTAINERS)
    node = tmp_path / "null"
    one = behind(["mknod", str(node), "c", "1", "3"], "harmless-devices")
    _give(service, one, service.state("c1", one.pid, metadata="devices"))
    two = behind(["sh", "-c", 'test "$(uname -n)" = elsewhere'], "fake-hostname")
    annotations = {"org.example/tier": "frontend"}
    _give(service, two, service.state("c2", two.pid, annotations=annotations), cut=40)
    assert (_status(one), _status(two)) == (0, 0)
    assert node.is_char_device()
    assert service.wait_for("workload.ended", workload="c1")["refused"] == 0
    begun = service.wait_for("workload.started", workload="c2")
    assert begun["annotations"] == annotations
    assert begun["section"] == "named"
    assert service.wait_for("call", workload="c2", operation="Uname")["verdict"] == "return"


def test_exec_joins_its_container(serve, behind):
    """A process that is executed into a container is the container's, whatever it says besides."""
    service = serve(CONTAINERS)
    first = behind(["sh", "-c", "sleep 30; uname -n"], "fake-hostname")
    _give(service, first, service.state("c1", first.pid, annotations={"org.example/tier": "front"}))
    service.wait_for("workload.started", workload="c1")
    second = behind(["uname", "-n"], "fake-hostname")
    executed = service.state("c1", second.pid, init=first.pid, status="running", bundle=".")
    _give(service, second, executed)
    assert _status(second) == 0
    assert service.wait_for("workload.joined", workload="c1")
    assert service.wait_for("call", workload="c1", tid=second.pid, operation="Uname")
    assert [event["workload"] for event in service.events("workload.started")] == ["c1"]


def test_nobody_wants_it(serve, behind):
    """What no section is for is let go: its calls get ENOSYS, and the log says whose it was."""
    service = serve(CONTAINERS)
    stranger = behind(["uname", "-n"], "fake-hostname")
    _give(service, stranger, service.state("stranger", stranger.pid))
    assert _status(stranger) != 0
    event = service.wait_for("arrival.refused")
    assert "no section of the configuration is for 'stranger'" in event["reason"]
    assert f"pid {os.getpid()}, uid {os.getuid()}" in event["peer"]


@pytest.mark.root
def test_only_who_may(serve):
    """A peer whose user the configuration does not name is refused, whatever it brings."""
    service = serve(CONTAINERS.replace('oci.sock"', 'oci.sock"\nmode = "0666"'))
    code = (
        "import sys, os, json, socket; sys.path.insert(0, sys.argv[1]); os.setuid(65534);"
        "from notifyd.kernel import seccomp, unix, prctl; prctl.set_no_new_privs();"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[2]);"
        "from notifyd.kernel.seccomp import install;"
        "l = install(bytes.fromhex('060000000000ff7f'), 8);"
        "unix.send_fds(s, sys.argv[3].encode(), [l])"
    )
    message = json.dumps(service.state("c9", metadata="devices"))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    words = [sys.executable, "-c", code, root, service.path("oci"), message]
    subprocess.run(words, timeout=20, stderr=subprocess.DEVNULL)  # it may find itself hung up on
    assert "may not use this socket" in service.wait_for("arrival.refused")["reason"]
    assert service.events("workload.started") == []


def test_id_twice(serve, behind):
    """A new container whose id is still supervised is told apart from the other."""
    service = serve(CONTAINERS)
    pair = []
    for _ in range(2):
        one = behind(["sh", "-c", "sleep 30; uname -n"], "fake-hostname")
        _give(service, one, service.state("c1", one.pid, annotations={"org.example/tier": "front"}))
        pair.append(one)
        time.sleep(0.1)
    assert service.wait_for("workload.started", workload="c1")
    assert service.wait_for("workload.started", workload="c1~2")


def _container(service, behind):
    one = behind(["sleep", "30"], "fake-hostname")
    _give(service, one, service.state("c1", one.pid, annotations={"org.example/tier": "front"}))
    return one


def test_two_of_one_id(serve, behind):
    """What is executed into one of two containers of one id is that one's, whichever came last."""
    service = serve(CONTAINERS)
    first, _ = _container(service, behind), service.wait_for("workload.started", workload="c1")
    other, _ = _container(service, behind), service.wait_for("workload.started", workload="c1~2")
    for init, known in ((first, "c1"), (other, "c1~2"), (first, "c1")):
        process = behind(["uname", "-n"], "fake-hostname")
        _give(service, process, service.state("c1", process.pid, init=init.pid, status="running"))
        assert _status(process) == 0
        assert service.wait_for("call", workload=known, tid=process.pid)


@pytest.mark.parametrize("named", ["nobody", "itself", "another", "one that has ended"])
def test_nobody_can_say_whose(serve, behind, named):
    """What is executed into nobody knows which container is decided by the section for itself."""
    service = serve(CONTAINERS)
    _container(service, behind)
    service.wait_for("workload.started", workload="c1")
    process = behind(["uname", "-n"], "fake-hostname")
    ended = subprocess.Popen(["true"])
    ended.wait()
    init = {"nobody": 0, "itself": process.pid, "another": os.getpid()}.get(named, ended.pid)
    state = service.state("c1", 0 if named == "nobody" else process.pid, init=init)
    state["state"] |= {"status": "running", "bundle": "."}
    _give(service, process, state)
    assert _status(process) != 0
    assert "no section of the configuration" in service.wait_for("arrival.refused")["reason"]
    assert not service.events("workload.joined")


@pytest.mark.root
def test_a_peer_in_another_pid_namespace(serve, behind):
    """The numbers that it names are not ours: they are taken for nobody's."""
    service = serve(CONTAINERS)
    first = _container(service, behind)
    service.wait_for("workload.started", workload="c1")
    process = behind(["uname", "-n"], "fake-hostname")
    message = json.dumps(service.state("c1", process.pid, init=first.pid, status="running"))
    code = (
        "import sys, socket; sys.path.insert(0, sys.argv[1]); from notifyd.kernel import unix;"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[2]);"
        "unix.send_fds(s, sys.argv[3].encode(), [int(sys.argv[4])]); s.recv(1)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    words = [root, service.path("oci"), message, str(process.listener)]
    subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", code, *words],
        pass_fds=[process.listener],
        timeout=20,
        check=True,
    )
    os.close(process.listener)
    process.listener = None
    assert _status(process) != 0
    assert service.wait_for("arrival.refused")
    assert not service.events("workload.joined")


def test_a_name_of_two(serve, behind):
    """A command about either lists both; each has a name by which it alone is called."""
    service = serve(CONTAINERS + '[sockets.control]\npath = "{here}/control.sock"\n')
    _container(service, behind)
    service.wait_for("workload.started", workload="c1")
    _container(service, behind)
    service.wait_for("workload.started", workload="c1~2")

    def kill(name):
        words = [sys.executable, "-m", "notifyd", "ctl", "kill", name]
        environment = {**os.environ, "NOTIFYD_CONTROL": service.path("control")}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=20)

    done = kill("c1")
    assert done.returncode != 0
    assert "'c1' could be any of 2: c1~1 (pid" in done.stderr
    assert "c1~2 (pid" in done.stderr
    assert not service.events("workload.ended")
    assert kill("c1~1").returncode == 0
    assert service.wait_for("workload.ended", workload="c1")
    assert kill("c1~2").returncode == 0
    assert service.wait_for("workload.ended", workload="c1~2")
