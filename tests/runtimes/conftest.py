"""Containers under every runtime there is, and the daemon that takes their listeners."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from booted import boot
from containers import oci
from containers.containerd import Containerd
from containers.docker import Docker
from containers.ground import PATIENCE, Ground
from containers.lxc import Lxc
from containers.podman import Podman, PodmanOverCrun
from containers.runc_like import Crun, Runc
from containers.runtime import Runtime, serve

OCI = {one.name: one for one in (Runc, Crun, Docker, Podman, Containerd)}
ALL = {**OCI, Lxc.name: Lxc}
EXTRA = {PodmanOverCrun.name: PodmanOverCrun}  # for what runc cannot do
Find = Callable[..., Runtime]


@pytest.fixture
def booted(tmp_path: Path) -> Callable[[str], str]:
    """Boots a system with the units in it, and runs a shell script there; what it printed."""
    if os.geteuid():
        pytest.skip("only root boots a system")
    return partial(boot, tmp_path)


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """Where this session's runtimes live; nothing of them may be left at the end."""
    if os.geteuid():
        pytest.skip("containers with a supervisor need root")
    made = Ground.make()
    yield made
    made.clear()


@pytest.fixture(scope="session")
def runtimes(ground: Ground) -> Iterator[Find]:
    """A runtime by its name, its daemon started once and ended at the end of the session.

    `runtimes(name, wrapped=True)` is one that calls `notifyd-runtime`.
    """
    with contextlib.ExitStack() as stack:
        made: dict[tuple[str, bool], Runtime] = {}

        def find(name: str, wrapped: bool = False) -> Runtime:
            if (name, wrapped) not in made:
                kind = {**ALL, **EXTRA}[name]
                kind.require()
                new = made[name, wrapped] = kind(ground, wrapped)
                stack.callback(new.close)
                new.open()
            return made[name, wrapped]

        yield find


@pytest.fixture(params=OCI)
def oci_runtime(request: pytest.FixtureRequest, runtimes: Find) -> Runtime:
    """Each runtime that hands listeners over as OCI says."""
    return runtimes(request.param)


@pytest.fixture(params=ALL)
def runtime(request: pytest.FixtureRequest, runtimes: Find) -> Runtime:
    """Each runtime there is."""
    return runtimes(request.param)


@pytest.fixture(params=OCI)
def wrapped(request: pytest.FixtureRequest, runtimes: Find, service: "Service") -> Runtime:
    """Each of them with `notifyd-runtime`, whose settings are its defaults but for the socket."""
    found = runtimes(request.param, wrapped=True)
    service.settle(found)
    return found


CONFIGURATION = """
audit = "{folder}/events.jsonl"
[sockets.oci]
path = "{folder}/oci.sock"
[sockets.lxc]
path = "{folder}/lxc.sock"
[[workload]]
name = "named"
rules = ["fake-hostname"]
options.name = "elsewhere"
match.metadata = "host=*"
[[workload]]
name = "annotated"
rules = ["fake-hostname"]
options.name = "annotated"
match.annotations = { "org.example.name" = "own" }
[[workload]]
name = "programs"
rules = ["exec-allowlist"]
options.sha256 = "{digest}"
match.metadata = "programs"
[[workload]]
name = "devices"
rules = ["harmless-devices"]
"""


@dataclass(frozen=True)
class Service:
    """The daemon: its sockets, and what it wrote down."""

    socket: Path
    lxc: Path
    audit: Path

    def profile(self, runtime: Runtime) -> dict[str, Any]:
        """What a container of a runtime has to be started with to be asked about devices."""
        here = self.lxc if runtime.name == Lxc.name else self.socket
        return oci.profile("mknod", "mknodat", listener=here)

    def settle(self, runtime: Runtime, *lines: str) -> None:
        """Have the `notifyd-runtime` of a runtime use our socket, and further settings."""
        runtime.settings.write_text("\n".join([f'listener = "{self.socket}"', *lines, ""]))

    def calls(self, workload: str, count: int) -> list[dict[str, Any]]:
        """The events of a container's calls, by its id, as soon as there are so many."""
        return self._events({"call"}, workload, count)

    def arrivals(self, workload: str, count: int) -> list[dict[str, Any]]:
        """The events of a container's arrival and of what entered it, by its id, as `calls`."""
        return self._events({"workload.started", "workload.joined"}, workload, count)

    def unheard(self, workload: str) -> list[dict[str, Any]]:
        """What the daemon missed in a container's filter; it says so before it decides a call."""
        return self._written({"workload.unheard"}, workload)

    def _events(self, kinds: set[str], workload: str, count: int) -> list[dict[str, Any]]:
        # They are written after the answers: a container may be gone before its last one is there.
        deadline = time.monotonic() + PATIENCE
        while len(found := self._written(kinds, workload)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _written(self, kinds: set[str], workload: str) -> list[dict[str, Any]]:
        *lines, _ = self.audit.read_text().split("\n")  # the last one may be half a line
        events = [json.loads(line) for line in lines]
        return [one for one in events if one["event"] in kinds and one.get("workload") == workload]


@pytest.fixture(scope="session")
def service(ground: Ground) -> Iterator[Service]:
    """`notifyd serve`, with rules that depend on a container's metadata."""
    digest = hashlib.sha256((ground.rootfs / "bin/busybox").read_bytes()).hexdigest()
    configuration = ground.folder / "notifyd.toml"
    configuration.write_text(
        CONFIGURATION.replace("{folder}", str(ground.folder)).replace("{digest}", digest)
    )
    here = ground.folder
    made = Service(here / "oci.sock", here / "lxc.sock", here / "events.jsonl")
    words = [sys.executable, "-m", "notifyd", "serve", "--config", str(configuration)]
    begun = serve(ground, words, made.socket)
    yield made
    finished = begun.stop(signal.SIGTERM)
    assert finished.status == 0
    assert "Traceback" not in finished.stderr
