"""Containers without the power to make devices make harmless ones, under every runtime."""

import pytest
from containers import oci

pytestmark = pytest.mark.root

MAKES = 'mknod /tmp/n c 1 3 && echo text > /tmp/n && stat -c "%F %t:%T %u:%g" /tmp/n'
REFUSED = "! mknod /tmp/d b 8 0 && ! [ -e /tmp/d ]"
MADE = "character special file 1:3 0:0\n"


@pytest.fixture
def profile(service):
    """What a container has to be started with."""
    return oci.profile("mknod", "mknodat", listener=service.socket)


def test_a_container_makes_harmless_devices(oci_runtime, profile):
    """It can use the node that it made, which is its own; a disk is refused."""
    finished = oci_runtime.run(f"{MAKES} && {REFUSED}", profile)
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr
    assert "Operation not permitted" in finished.stderr


def test_without_a_listener_it_makes_none(oci_runtime):
    """The containers of these tests lack the power themselves."""
    finished = oci_runtime.run("mknod /tmp/n c 1 3", oci.profile())
    assert finished.status == 1
    assert "Operation not permitted" in finished.stderr


def test_a_second_process_is_supervised_too(oci_runtime, profile):
    """One that enters a container that runs."""
    with oci_runtime.start(profile) as container:
        finished = container.exec(["/bin/sh", "-c", f"{MAKES} && {REFUSED}"])
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_a_container_with_a_user_namespace_makes_them(runtimes, profile, name):
    """Nobody there may make devices, whatever powers they hold: the kernel wants them outside."""
    done = f"{MAKES} && {REFUSED}"
    finished = runtimes(name).run(done, profile, user_namespace=True)
    assert (finished.stdout, finished.status) == (MADE, 0), finished.stderr


def test_a_user_of_a_container_makes_them(oci_runtime, profile):
    """The node is the user's, though the power to make it was never theirs."""
    script = f"su user -c '{MAKES} && {REFUSED}'"
    finished = oci_runtime.run(script, profile)
    told = MADE.replace("0:0", "1000:1000")
    assert (finished.stdout, finished.status) == (told, 0), finished.stderr


def test_its_events_bear_its_id(oci_runtime, service, profile):
    """What was made and what was refused, both by name."""
    name = f"{oci_runtime.name}-told"
    oci_runtime.run(f"{MAKES}; {REFUSED}", profile, name=name)
    calls = service.calls(oci_runtime.id_of(name), 2)
    assert [(call["operation"], call["verdict"]) for call in calls] == [
        ("Mknod", "allow"),
        ("Mknod", "deny"),
    ]
