"""LXC asks a proxy about each call, for the first process and for those that are attached."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from containers import oci
from containers.runtime import serve

from notifyd.kernel.arch import native

pytestmark = pytest.mark.root

MKNOD = {"mknod", "mknodat"}  # which one busybox makes is the C library's choice
TRIES = "mknod /tmp/n c 1 3"
REFUSED = "Operation not supported"  # ERRNO of lxc_responder.py


@pytest.fixture
def lxc(runtimes):
    """The runtime."""
    return runtimes("lxc")


@pytest.fixture(scope="module")
def responder(ground):
    """Who refuses; gives the socket, and the file that the requests are in."""
    # Names of its own: the daemon has a socket of this session, too, and whoever finds that one
    # instead gets its device.
    path, log = ground.folder / "responder.sock", ground.folder / "responder.jsonl"
    program = Path(__file__).with_name("lxc_responder.py")
    begun = serve(ground, [sys.executable, str(program), str(path), str(log)], path)
    yield path, log
    assert begun.stop().stderr == ""


def asked(log, cookie):
    """The requests with a cookie."""
    requests = [json.loads(line) for line in log.read_text().splitlines()]
    return [one for one in requests if one["cookie"] == cookie]


@pytest.mark.parametrize("user_namespace", [False, True], ids=["privileged", "idmapped"])
def test_the_proxy_answers_for_a_container(lxc, responder, user_namespace):
    """With the cookie that it was started with, and the descriptors that LXC promises."""
    path, log = responder
    cookie = f"one:{user_namespace}"
    profile = oci.profile(*MKNOD, listener=path, metadata=cookie)
    finished = lxc.run(TRIES, profile, user_namespace=user_namespace)
    assert (finished.status, REFUSED in finished.stderr) == (1, True), (
        finished,
        asked(log, cookie),
    )
    (request,) = asked(log, cookie)
    process, memory, listener = request["descriptors"]
    assert native().name_of(request["call"]) in MKNOD
    assert (process, memory) == (f"/proc/{request['pid']}", f"/proc/{request['pid']}/mem")
    assert listener == "anon_inode:seccomp notify"


def test_the_proxy_answers_for_a_process_that_is_attached(lxc, responder):
    """The second process has the filter, too, and is told of with the same cookie."""
    path, log = responder
    profile = oci.profile(*MKNOD, listener=path)
    with lxc.start(profile, metadata="two") as container:
        attached = container.exec(["/bin/sh", "-c", TRIES])
    assert (attached.status, REFUSED in attached.stderr) == (1, True), attached
    assert len(asked(log, "two")) == 1


def test_the_status_is_that_of_the_command(lxc):
    """And a container without a proxy lacks the power to make devices."""
    finished = lxc.run(f"{TRIES} || exit 7", oci.profile())
    assert finished.status == 7
    assert os.strerror(errno.EPERM) in finished.stderr
