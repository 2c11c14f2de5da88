"""A profile that `notifyd profile` wrote, in force under real runtimes."""

from __future__ import annotations

import json
import os

import pytest
from receiver_for_profiles import MARKED, MKNOD, RUNTIMES, Bundle, Receiver

from notifyd.cli import main

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with devices need root"),
]


@pytest.fixture(params=RUNTIMES)
def bundle(request, tmp_path):
    """A bundle for each runtime."""
    return Bundle(tmp_path / "bundle", request.param)


@pytest.fixture
def receiver(tmp_path):
    """Somebody who takes listeners."""
    with Receiver(tmp_path / "socket") as found:
        yield found


def profile(tmp_path, runtime, *words):
    """What `notifyd profile` writes for these words."""
    to = tmp_path / "profile.json"
    main_words = ["profile", "--listener", str(tmp_path / "socket"), "--runtime", runtime]
    main([*main_words, "--output", str(to), *words])
    return json.loads(to.read_text())


@pytest.mark.parametrize("base", ["docker", "none"])
def test_the_runtime_hands_the_listener_over(base, bundle, receiver, tmp_path):
    """With its metadata; what the rules are about is asked, and all else is as it was."""
    words = ("--rules", "harmless-devices", "--metadata", "yes", "--base", base)
    bundle.configure(
        f"{MKNOD}; mknod /tmp/fifo p && echo made",
        seccomp=profile(tmp_path, bundle.runtime, *words),
    )
    ran = bundle.run()
    assert MARKED in ran.stderr
    assert ran.stdout == "made\n"
    assert receiver.metadata == ["yes"]


def test_what_is_executed_into_the_container_is_asked_about(bundle, receiver, tmp_path):
    """By a listener of its own, with the same metadata."""
    made = profile(tmp_path, bundle.runtime, "--rules", "harmless-devices", "--metadata", "both")
    bundle.configure("sleep 60", seccomp=made)
    bundle.call("create", "--bundle", str(bundle.folder), bundle.name)
    try:
        bundle.call("start", bundle.name)
        ran = bundle.call("exec", bundle.name, "/bin/sh", "-c", MKNOD, check=False)
    finally:
        bundle.call("delete", "--force", bundle.name)
    assert MARKED in ran.stderr
    assert receiver.metadata == ["both", "both"]


def test_rules_that_the_kernel_decides_need_no_listener(bundle, tmp_path):
    """Nobody is there to take one, and the container runs; the refusal is the kernel's."""
    made = profile(tmp_path, bundle.runtime, "--rules", "no-network")
    bundle.configure("echo runs; busybox nc 127.0.0.1 1", seccomp=made)
    ran = bundle.run(check=False)
    assert "listenerPath" not in made
    assert ran.stdout == "runs\n"
    assert "Permission denied" in ran.stderr
