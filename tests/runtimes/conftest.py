"""Containers under every runtime there is, and the daemon that takes their listeners."""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from booted import boot
from containers.containerd import Containerd
from containers.docker import Docker
from containers.ground import Ground
from containers.lxc import Lxc
from containers.podman import Podman, PodmanOverCrun
from containers.runc_like import Crun, Runc
from containers.runtime import Runtime
from containers.service import Service

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
def wrapped(request: pytest.FixtureRequest, runtimes: Find, service: Service) -> Runtime:
    """Each of them with `notifyd-runtime`, whose settings are its defaults but for the socket."""
    found = runtimes(request.param, wrapped=True)
    service.settle(found)
    return found


@pytest.fixture(scope="session")
def service(ground: Ground) -> Iterator[Service]:
    """`notifyd serve`, with rules that depend on a container's metadata and annotations."""
    with Service.begin(ground, "service") as begun:
        yield begun
