"""Containers without the power to make devices make harmless ones, under every runtime."""

import errno
import os

import pytest
from containers import oci
from devices import MADE, MAKES, REFUSED, TRIES

pytestmark = pytest.mark.root


def test_a_container_makes_harmless_devices(runtime, service):
    """It can use the node that it made, which is its own; a disk is refused."""
    finished = runtime.run(TRIES, service.profile(runtime))
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    assert os.strerror(errno.EPERM) in finished.stderr


def test_without_a_listener_it_makes_none(runtime):
    """The containers of these tests lack the power themselves."""
    finished = runtime.run("mknod /tmp/n c 1 3", oci.profile())
    assert finished.status == 1
    assert os.strerror(errno.EPERM) in finished.stderr


def test_a_second_process_is_supervised_too(runtime, service):
    """One that enters a container that runs."""
    with runtime.start(service.profile(runtime)) as container:
        finished = container.exec(["/bin/sh", "-c", TRIES])
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr


@pytest.mark.parametrize("name", ["runc", "crun", "lxc"])
def test_a_container_with_a_user_namespace_makes_them(runtimes, service, name):
    """Nobody there may make devices, whatever powers they hold: the kernel wants them outside."""
    runtime = runtimes(name)
    finished = runtime.run(TRIES, service.profile(runtime), user_namespace=True)
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr


def test_a_user_of_a_container_makes_them(runtime, service):
    """The node is the user's, though the power to make it was never theirs."""
    script = f"su user -c '{TRIES}'"
    finished = runtime.run(script, service.profile(runtime))
    told = MADE.replace("0:0", "1000:1000")
    assert (finished.stdout, finished.status) == (told, 0), finished.stderr


def test_its_events_bear_its_id(oci_runtime, service):
    """What was made and what was refused, both by name."""
    name = f"{oci_runtime.name}-told"
    oci_runtime.run(f"{MAKES}; {REFUSED}", service.profile(oci_runtime), name=name)
    calls = service.calls(oci_runtime.id_of(name), 2)
    assert [(call["operation"], call["verdict"]) for call in calls] == [
        ("Mknod", "allow"),
        ("Mknod", "deny"),
    ]
