"""Personas: read from a target, and put on by one thread of ours alone."""

import os
import signal
import subprocess
import threading

import pytest

from notifyd.errors import CannotPerform
from notifyd.kernel import capability, proc
from notifyd.perform.credentials import GRANTS, Credentials

NOBODY = 65534


@pytest.fixture
def persona_of():
    """The credentials of a process that `setpriv` made with these switches."""
    made = []

    def reader(*switches, umask=0o22):
        line = ["setpriv", *switches, "sh", "-c", f"umask {umask:o}; echo up; exec sleep 1000"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE)
        made.append(process)
        process.stdout.readline()
        directory = proc.open_dir(process.pid)
        try:
            return Credentials.of(directory)
        finally:
            os.close(directory)

    yield reader
    for process in made:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def in_thread(function):
    """Call a function in a thread of its own; its result, or what it raised."""
    found = []

    def work():
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    return found[0]


@pytest.mark.root
def test_a_persona_is_what_the_target_is(persona_of):
    """Ids, groups, capabilities and umask, as /proc tells them."""
    switches = ("--reuid=1234", "--regid=2345", "--groups=7,8")
    creds = persona_of(*switches, umask=0o27)
    assert (creds.euid, creds.fsuid, creds.egid, creds.fsgid) == (1234, 1234, 2345, 2345)
    assert (set(creds.groups), creds.capabilities, creds.umask) == ({7, 8}, 0, 0o27)


@pytest.mark.root
def test_putting_on_is_for_one_thread(persona_of):
    """The thread becomes it, fsuid and groups too; the process stays what it was."""
    creds = persona_of("--reuid=nobody", "--regid=nogroup", "--groups=7,8")
    before = Credentials.own()

    def become():
        creds.change(None)()
        directory = proc.open_dir(threading.get_native_id())
        try:
            return Credentials.of(directory)
        finally:
            os.close(directory)

    worn = in_thread(become)
    assert (worn.euid, worn.fsuid, worn.egid, worn.fsgid) == (NOBODY,) * 4
    assert set(worn.groups) == {7, 8}
    assert worn.capabilities == 0
    assert Credentials.own() == before
    assert os.geteuid() == 0


@pytest.mark.root
def test_a_persona_has_no_more_power_than_the_target(persona_of, tmp_path):
    """What the target may not open, the thread may not open either."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    creds = persona_of("--reuid=nobody", "--regid=nogroup", "--clear-groups")

    def peek():
        creds.change(None)()
        return secret.read_text()

    assert isinstance(in_thread(peek), PermissionError)


@pytest.mark.root
def test_a_grant_lends_one_power(persona_of):
    """low-ports gives CAP_NET_BIND_SERVICE and nothing else."""
    creds = persona_of("--reuid=nobody", "--regid=nogroup", "--clear-groups")

    def effective():
        creds.change("low-ports")()
        return capability.get(0).effective

    assert in_thread(effective) == GRANTS["low-ports"]


def test_an_unknown_grant_is_refused():
    """A grant nobody knows is no power."""
    error = in_thread(lambda: Credentials.own().change("everything")())
    assert isinstance(error, CannotPerform)
    assert "low-ports" in str(error)


@pytest.mark.root
def test_root_without_capabilities_stays_so(persona_of):
    """A target that is root and has dropped its capabilities is performed for without them."""
    drop = "--bounding-set=-net_bind_service,-dac_override,-dac_read_search"
    creds = persona_of("--inh-caps=-all", drop)
    assert creds.euid == 0
    lost = 1 << capability.CAPABILITY_NUMBERS["CAP_DAC_OVERRIDE"]

    def effective():
        creds.change(None)()
        return capability.get(0).effective

    assert not in_thread(effective) & lost
