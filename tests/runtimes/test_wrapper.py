"""notifyd-runtime in front of real runtimes."""

from __future__ import annotations

import json
import os

import pytest
from receiver_for_profiles import MARKED, MKNOD, RUNTIMES, Bundle, Receiver

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with devices need root"),
]
ASKS = {"org.notifyd.rules": "harmless-devices"}


@pytest.fixture(params=RUNTIMES)
def bundle(request, tmp_path):
    """A bundle for each runtime."""
    return Bundle(tmp_path / "bundle", request.param)


@pytest.fixture
def receiver(tmp_path):
    """Somebody who takes listeners."""
    with Receiver(tmp_path / "socket") as found:
        yield found


@pytest.fixture
def settings(tmp_path):
    """The wrapper's settings, with the receiver's socket in them."""
    path = tmp_path / "runtime.toml"
    path.write_text(f'listener = "{tmp_path}/socket"\n')
    return path


def test_a_container_that_asks_gets_rules(bundle, receiver, settings):
    """Its annotations say which, and what goes with the listener."""
    bundle.configure(MKNOD, annotations=ASKS | {"org.notifyd.metadata": "mine"})
    ran = bundle.run(wrapped=settings, check=False)
    assert MARKED in ran.stderr
    assert receiver.metadata == ["mine"]
    # A second time: the configuration has the profile already.
    assert MARKED in bundle.run(wrapped=settings, check=False).stderr
    assert receiver.metadata == ["mine", "mine"]


def test_two_containers_have_their_own_metadata(receiver, settings, tmp_path):
    """By default, the names of their rules."""
    for number, rules in enumerate(["harmless-devices", "audit-exec"]):
        one = Bundle(tmp_path / str(number), "runc")
        one.configure("true", annotations={"org.notifyd.rules": rules})
        one.run(wrapped=settings)
    assert receiver.metadata == ["harmless-devices", "audit-exec"]


def test_what_is_executed_into_the_container_is_asked_about(bundle, receiver, settings):
    """create, start, exec, state and delete all go through the wrapper."""
    bundle.configure("sleep 60", annotations=ASKS)
    bundle.call("create", "--bundle", str(bundle.folder), bundle.name, wrapped=settings)
    try:
        bundle.call("start", bundle.name, wrapped=settings)
        state = json.loads(bundle.call("state", bundle.name, wrapped=settings).stdout)
        command = ("exec", bundle.name, "/bin/sh", "-c", MKNOD)
        ran = bundle.call(*command, wrapped=settings, check=False)
    finally:
        bundle.call("delete", "--force", bundle.name, wrapped=settings)
    assert state["status"] == "running"
    assert MARKED in ran.stderr
    assert receiver.metadata == ["harmless-devices"] * 2


def test_a_container_that_does_not_ask_is_left_alone(bundle, settings):
    """Byte for byte; nobody listens, and it runs."""
    bundle.configure("echo runs")
    before = (bundle.folder / "config.json").read_bytes()
    assert bundle.run(wrapped=settings).stdout == "runs\n"
    assert (bundle.folder / "config.json").read_bytes() == before


def test_what_cannot_be_had_does_not_start(bundle, settings, tmp_path):
    """The engine reads why in the runtime's log, the person at the terminal."""
    bundle.configure("echo runs", annotations={"org.notifyd.rules": "harmles-devices"})
    before = (bundle.folder / "config.json").read_bytes()
    log = tmp_path / "log.json"
    words = ("--log", str(log), "--log-format", "json", "run", "--bundle", str(bundle.folder))
    ran = bundle.call(*words, bundle.name, wrapped=settings, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "'harmles-devices' is none of the choices here" in ran.stderr
    told = json.loads(log.read_text())
    assert (told["level"], told["msg"]) == ("error", ran.stderr.strip())
    assert (bundle.folder / "config.json").read_bytes() == before
