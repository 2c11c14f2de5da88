"""The one interface to all runtimes: what is asked for, a container that runs, how to make both."""

import abc
import errno
import itertools
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from . import cgroups
from .ground import PATIENCE, VARIABLE, Begun, Finished, Ground, find_program

Profile = Mapping[str, Any]  # an OCI seccomp profile (runtime-spec, config-linux.md)

WRAPPER = Path(sys.executable).with_name("notifyd-runtime")
_READY = "container is up"
_NUMBERS = itertools.count(1)
FIRST_USER = 100_000  # on the host: root of a container that has a user namespace


@dataclass(frozen=True)
class Asked:
    """What a container is to be.

    Attributes:
        name: its id, unique in this session.
        script: what its /bin/sh runs.
        profile: its seccomp profile; with listenerPath and listenerMetadata, if there are any.
        annotations: for its state, where the runtime has such.
        user_namespace: whether its root is nobody on the host.
        mark: names the session.
    """

    name: str
    script: str
    profile: Profile
    annotations: Mapping[str, str]
    user_namespace: bool
    mark: str

    @property
    def words(self) -> list[str]:
        """What the container runs."""
        return ["/bin/sh", "-c", self.script]

    @property
    def variable(self) -> str:
        """What has to be in the environment of the container: how it is found."""
        return f"{VARIABLE}={self.mark}"


@dataclass(frozen=True)
class Container:
    """A container that runs until it is killed."""

    name: str
    runtime: "Runtime" = field(repr=False)
    begun: Begun = field(repr=False)

    def exec(self, words: Sequence[str]) -> Finished:
        """Run a second process in it to its end."""
        return self.runtime.enter(self.name, words)

    def kill(self) -> Finished:
        """End it with all its processes; what its first process left behind."""
        self.runtime.remove(self.name, self.begun)
        return self.begun.wait()


class Runtime(abc.ABC):
    """A runtime, and its daemon if it has one.

    Args:
        ground: where everything is started and kept.
        wrapped: whether `notifyd-runtime` is called in place of the OCI runtime, with `settings`.
    """

    name: ClassVar[str]
    real: ClassVar[str] = "runc"  # the OCI runtime
    programs: ClassVar[Sequence[str]]  # that have to be there
    user_namespaces: ClassVar[bool] = False  # whether it can be asked for them here

    def __init__(self, ground: Ground, wrapped: bool = False) -> None:
        self.ground = ground
        self.wrapped = wrapped
        self.folder = ground.folder / (f"{self.name}-wrapped" if wrapped else self.name)
        self.folder.mkdir(mode=0o711)
        self._run = self.folder / "run"
        self._run.mkdir()
        self.socket = self.folder / "s"  # of the daemon, if there is one
        self.settings = self.folder / "runtime.toml"
        self.program = self._wrap() if wrapped else self.real
        self.daemon: Begun | None = None

    def _wrap(self) -> str:
        # A script, since Podman hands its runtime no environment.
        path = self.folder / "notifyd-runtime"
        variables = f"NOTIFYD_RUNTIME={self.real} NOTIFYD_RUNTIME_CONFIG={self.settings}"
        path.write_text(f'#!/bin/sh\n{variables} exec {shlex.quote(str(WRAPPER))} "$@"\n')
        path.chmod(0o755)
        return str(path)

    @classmethod
    def require(cls) -> None:
        """See that its programs are there, as `find_program` does."""
        for program in cls.programs:
            find_program(program)

    @abc.abstractmethod
    def run_command(self, asked: Asked) -> list[str]:
        """The command that runs a container in the foreground, all its files made ready."""

    @abc.abstractmethod
    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """The command that runs a second process in a container that runs."""

    @abc.abstractmethod
    def remove_commands(self, name: str) -> list[list[str]]:
        """The commands that end a container, whether it runs or not, and forget it."""

    def kill_command(self, name: str) -> list[str]:
        """The command that ends one that runs, where what runs it has to see its end itself."""
        return []

    @staticmethod
    def number() -> int:
        """A number that was not given before."""
        return next(_NUMBERS)

    def private(self, words: Sequence[str], *steps: str) -> list[str]:
        """A command in a mount namespace of its own, with the /run of this runtime.

        So it neither sees nor disturbs what else of its kind the machine runs.
        """
        return cgroups.private(words, cgroups.own_run(self._run), *steps)

    def id_file(self, name: str) -> Path:
        """Where engines that make up ids of their own write that of a container."""
        return self.folder / f"{name}.id"

    def id_of(self, name: str) -> str:
        """The id under which the OCI runtime knows a container, also after its end."""
        path = self.id_file(name)
        return path.read_text() if path.exists() else name

    def serve_command(self) -> list[str]:
        """The command that is its daemon and listens at `socket`; nothing where there is none."""
        return []

    def open(self) -> None:
        """Start the daemon, if there is one, and wait until it serves."""
        if words := self.serve_command():
            self.daemon = serve(self.ground, words, self.socket)

    def close(self) -> None:
        """End the daemon, which ends what it started."""
        if self.daemon is not None:
            self.daemon.stop(signal.SIGTERM)

    def enter(self, name: str, words: Sequence[str]) -> Finished:
        """Run a second process in a container that runs, to its end."""
        return self.ground.run(self.exec_command(name, words))

    def remove(self, name: str, begun: Begun | None = None) -> None:
        """End a container, if it runs, and forget it; `begun` is the command that runs it."""
        if begun is not None and (words := self.kill_command(name)):
            self.ground.run(words)
            begun.wait()
        for command in self.remove_commands(name):
            self.ground.run(command)

    def run(self, script: str, profile: Profile, **more: Any) -> Finished:
        """Run a shell script in a container of its own, to its end.

        Args:
            script: for the container's /bin/sh.
            profile: an OCI seccomp profile.
            **more: any of
                annotations: for the container's state;
                metadata: the profile's listenerMetadata;
                name: the container's id; one is made up if there is none;
                user_namespace: give it one, with its root being `FIRST_USER`.
        """
        asked = self.asked(script, profile, **more)
        try:
            return self.ground.run(self.run_command(asked))
        finally:
            self.remove(asked.name)

    @contextmanager
    def start(
        self, profile: Profile, *, script: str = "exec sleep 600", **more: Any
    ) -> Iterator[Container]:
        """A container that runs `script` and is there to be entered; arguments as of `run`."""
        asked = self.asked(f"echo {_READY}; {script}", profile, **more)
        container = Container(asked.name, self, self.ground.begin(self.run_command(asked)))
        try:
            _wait_up(container)
            yield container
        finally:
            self.remove(asked.name, container.begun)
            container.begun.wait()

    def asked(
        self,
        script: str,
        profile: Profile,
        *,
        annotations: Mapping[str, str] | None = None,
        metadata: str | None = None,
        name: str | None = None,
        user_namespace: bool = False,
    ) -> Asked:
        """What a container is to be; arguments as of `run`."""
        assert self.user_namespaces or not user_namespace, f"{self.name}: not here"
        if metadata is not None:
            profile = {**profile, "listenerMetadata": metadata}
        name = name or f"{self.name}-{self.number()}"
        return Asked(name, script, profile, annotations or {}, user_namespace, self.ground.mark)


def _wait_up(container: Container) -> None:
    begun = container.begun
    wait_until(lambda: begun.output()[0].startswith(_READY), container, begun)


def wait_until(condition: Callable[[], bool], what: object, begun: Begun | None = None) -> None:
    """Wait until `condition()`, while `begun` lives, if there is one.

    Raises:
        AssertionError: it ended, or the time is up and it was killed.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        ended = begun is not None and begun.process.poll() is not None
        if ended or time.monotonic() > deadline:
            raise AssertionError(f"not ready: {what}: {begun and begun.stop()}")
        time.sleep(0.01)


def serve(ground: Ground, words: Sequence[str], path: Path) -> Begun:
    """Start a daemon, and wait until it listens at a socket, which nobody may have made before."""
    assert not path.exists(), f"{path} is somebody else's"
    begun = ground.begin(words)
    wait_until(lambda: _listens(path), words, begun)
    return begun


def _listens(path: Path) -> bool:
    # A socket that is bound has its name, and refuses who comes before it listens.
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) in (0, errno.EPROTOTYPE)
