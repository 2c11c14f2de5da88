"""Docker: a daemon of its own, and an image of busybox.

What this Docker does not hand on (20.10: listenerPath, annotations) is added by a runtime of ours.
"""

import json
import shlex
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from . import oci, wrapper
from .runtime import Asked, Runtime

IMAGE = "busybox:test"
FROM_PROFILE = ("listenerPath", "listenerMetadata")


class Docker(Runtime):
    """A dockerd of its own, over runc."""

    name = "docker"
    programs = ("dockerd", "docker", "containerd", "runc")

    def _make_wrapper(self) -> Path:
        path = self.folder / "wrapper"
        program = shlex.join([sys.executable, "-I", wrapper.__file__, self.program])
        path.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        path.chmod(0o755)
        return path

    def serve_command(self) -> list[str]:
        """`dockerd`, which starts a containerd."""
        places = {"data-root": "root", "exec-root": "exec", "pidfile": "pid"}
        (self.folder / "daemon.json").write_text("{}")
        words = [
            "dockerd",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--host=unix://{self.socket}",
            *(f"--{option}={self.folder / place}" for option, place in places.items()),
            f"--add-runtime=wrapper={self._make_wrapper()}",
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
        ]
        return self.private(words)

    def open(self) -> None:
        """Start dockerd and give it the image."""
        super().open()
        archive = self.folder / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(self.ground.rootfs, "/")
        done = self.ground.run(self.command("import", str(archive), IMAGE))
        assert done.status == 0, done.stderr

    def run_command(self, asked: Asked) -> list[str]:
        """`docker run`."""
        seccomp = {key: asked.profile[key] for key in FROM_PROFILE if key in asked.profile}
        wanted = json.dumps({"annotations": dict(asked.annotations), "seccomp": seccomp})
        return self.command(
            "run",
            "--runtime=wrapper",
            f"--name={asked.name}",
            f"--cidfile={self.id_file(asked.name)}",
            f"--cgroup-parent=/{asked.mark}",
            f"--env={asked.variable}",
            f"--env={wrapper.VARIABLE}={wanted}",
            f"--security-opt=seccomp={oci.write_profile(asked, self.folder)}",
            "--cap-drop=MKNOD",
            "--network=none",
            IMAGE,
            *asked.words,
        )

    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """`docker exec`."""
        return self.command("exec", name, *words)

    def remove_commands(self, name: str) -> list[list[str]]:
        """`docker rm --force`."""
        return [self.command("rm", "--force", name)]

    def command(self, *words: str) -> list[str]:
        """The client with these words."""
        return ["docker", f"--host=unix://{self.socket}", *words]
