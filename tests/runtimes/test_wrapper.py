"""notifyd-runtime in front of real runtimes, under every engine, and the daemon behind it."""

import errno
import json
import os

import pytest
from containers import oci
from devices import MADE, TRIES

from notifyd.bpf.oci.profile import KILLABLE, write
from notifyd.container.base import find_base

pytestmark = pytest.mark.root

ASKS = {"org.notifyd.rules": "harmless-devices"}
REFUSES = "mknod /tmp/n c 1 3"


@pytest.fixture(params=["runc", "crun"])
def bare(request, runtimes, service):
    """The wrapper called as an engine calls it."""
    found = runtimes(request.param, wrapped=True)
    service.settle(found)
    return found


def told(service, runtime, name, count=1):
    """The metadata of a container's arrivals; its filter reports all that the daemon asks for."""
    arrivals = service.arrivals(runtime.id_of(name), count)
    assert service.unheard(runtime.id_of(name)) == []
    return [one["metadata"] for one in arrivals]


def test_a_container_that_asks_gets_rules(wrapped, service):
    """Its annotations say which, and what goes with the listener; its events carry its id."""
    asks = ASKS | {"org.notifyd.metadata": "mine"}
    with wrapped.start(oci.profile(), annotations=asks) as container:
        finished = container.exec(["/bin/sh", "-c", TRIES])
        again = container.exec(["/bin/sh", "-c", f"rm /tmp/n; {TRIES}"])
    for one in (finished, again):
        assert (one.stdout, one.status) == (MADE, 0), one.stderr
    id_ = wrapped.id_of(container.name)
    assert told(service, wrapped, container.name, 3) == ["mine"] * 3
    assert service.arrivals(id_, 1)[0]["annotations"].items() >= asks.items()
    assert [one["verdict"] for one in service.calls(id_, 4)] == ["allow", "deny"] * 2


def test_every_container_gets_what_the_settings_say(wrapped, service):
    """One that asks for nothing, too; the engine's own profile holds on beside it."""
    service.settle(wrapped, 'rules = ["harmless-devices"]')
    base = oci.profile()
    base["syscalls"] = [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]
    name = f"{wrapped.name}-settings"
    script = f"{TRIES} && mknod /tmp/fifo p && stat -c %F /tmp/fifo; chroot / true"
    finished = wrapped.run(script, base, name=name)
    assert finished.stdout == f"{MADE}fifo\n", finished.stderr
    assert "Operation not supported" in finished.stderr
    assert told(service, wrapped, name) == ["harmless-devices"]


def test_annotations_choose_a_section_of_the_daemon(wrapped, service):
    """Two containers with the same rules in their filters, and different ones outside."""
    own = {"org.notifyd.rules": "fake-hostname", "org.example.name": "own"}
    other = own | {"org.notifyd.metadata": "host=x", "org.example.name": "another"}
    first = f"{wrapped.name}-own"
    names = [
        wrapped.run("uname -n", oci.profile(), annotations=own, name=first).stdout,
        wrapped.run("uname -n", oci.profile(), annotations=other).stdout,
    ]
    assert names == ["annotated\n", "elsewhere\n"]
    assert told(service, wrapped, first) == ["fake-hostname"]


def test_one_that_does_not_ask_is_left_alone(wrapped, service):
    """It runs, makes no device, and the daemon never hears of it."""
    name = f"{wrapped.name}-left"
    finished = wrapped.run(f"echo runs; {REFUSES}", oci.profile(), name=name)
    assert (finished.stdout, finished.status) == ("runs\n", 1)
    assert os.strerror(errno.EPERM) in finished.stderr
    assert service.arrivals(wrapped.id_of(name), 0) == []


def test_what_cannot_be_had_does_not_start(wrapped, service):
    """The engine shows why: settings with a rule that there is not, and nobody who listens."""
    service.settle(wrapped, 'rules = ["harmles-devices"]')
    finished = wrapped.run("echo runs", oci.profile())
    assert finished.status != 0
    assert finished.stdout == ""
    assert "notifyd-runtime: no shipped rule is named 'harmles-devices'" in finished.stderr
    wrapped.settings.write_text('listener = "/nobody"\nrules = ["harmless-devices"]\n')
    finished = wrapped.run("echo runs", oci.profile())
    assert (finished.status != 0, finished.stdout) == (True, "")
    assert "/nobody" in finished.stderr or "seccomp agent" in finished.stderr


def test_a_configuration_that_is_ready_stays_so(bare, service):
    """The same bundle a second time has the profile already, and is asked about as before."""
    name, again = f"{bare.name}-first", f"{bare.name}-again"
    bare.run(REFUSES, oci.profile(), annotations=ASKS, name=name)
    finished = bare.ground.run(bare.command("run", "--bundle", str(bare.folder / name), again))
    bare.remove(again)
    assert os.strerror(errno.EEXIST) in finished.stderr
    assert told(service, bare, again) == ["harmless-devices"]
    assert len(service.calls(again, 1)) == 1


def test_two_containers_have_their_own_metadata(bare, service):
    """By default, the names of their rules."""
    for rules in ("harmless-devices", "audit-exec"):
        name = f"{bare.name}-{rules}"
        bare.run("true", oci.profile(), annotations={"org.notifyd.rules": rules}, name=name)
        assert [one["metadata"] for one in service.arrivals(name, 1)] == [rules]


def test_every_command_of_a_runtime_goes_through(bare, service):
    """create, start, state, exec and delete, as engines call them."""
    name = f"{bare.name}-steps"
    asked = bare.asked("exec sleep 60", oci.profile(), annotations=ASKS, name=name)
    bundle = oci.make_bundle(bare.ground, asked, bare.folder / name)

    def call(*words):
        done = bare.ground.run(bare.command(*words))
        assert done.status == 0, done
        return done.stdout

    try:
        call("create", "--bundle", str(bundle), name)
        call("start", name)
        assert json.loads(call("state", name))["status"] == "running"
        assert call("exec", name, "/bin/sh", "-c", TRIES) == MADE
    finally:
        call("delete", "--force", name)
    assert told(service, bare, name, 2) == ["harmless-devices"] * 2


@pytest.mark.parametrize("name", ["crun", "podman-crun"])
def test_programs_are_verified(name, runtimes, service):
    """With the flag in the settings, which crun takes."""
    runtime = runtimes(name, wrapped=True)
    rules = 'rules = ["exec-allowlist"]', f'flags = ["{KILLABLE}"]', 'metadata = "programs"'
    service.settle(runtime, *rules)
    name = f"{name}-programs"
    script = "cp /bin/busybox /tmp/no; echo more >>/tmp/no; /tmp/no || busybox true && echo done"
    base, _ = find_base("docker")  # one that refuses what libseccomp does not know
    finished = runtime.run(script, json.loads(write(base)), name=name)
    assert (finished.stdout, finished.status) == ("done\n", 0), finished.stderr
    calls = service.calls(runtime.id_of(name), 3)
    assert {"verified", "answered"} == {one["how"] for one in calls}
    assert service.unheard(runtime.id_of(name)) == []


def test_nothing_of_a_bundle_changes_that_does_not_ask(bare):
    """Byte for byte."""
    name = f"{bare.name}-bytes"
    asked = bare.asked("echo runs", oci.profile(), name=name)
    path = oci.make_bundle(bare.ground, asked, bare.folder / name) / "config.json"
    before = path.read_bytes()
    finished = bare.ground.run(bare.command("run", "--bundle", str(path.parent), name))
    assert finished.stdout == "runs\n"
    assert path.read_bytes() == before


def test_the_log_of_a_runtime_says_why(bare):
    """The engine reads it there, the person at the terminal; the bundle is as it was."""
    name = f"{bare.name}-log"
    asks = {"org.notifyd.rules": "harmles-devices"}
    asked = bare.asked("echo runs", oci.profile(), annotations=asks, name=name)
    path = oci.make_bundle(bare.ground, asked, bare.folder / name) / "config.json"
    before, log = path.read_bytes(), bare.folder / "log.json"
    words = ("--log", str(log), "--log-format", "json", "run", "--bundle", str(path.parent), name)
    finished = bare.ground.run(bare.command(*words))
    assert (finished.status, finished.stdout) == (1, "")
    assert "'harmles-devices' is not one of the choices here" in finished.stderr
    said = json.loads(log.read_text())
    assert (said["level"], said["msg"]) == ("error", finished.stderr.strip())
    assert path.read_bytes() == before
