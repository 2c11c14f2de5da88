"""containerd, by its own client ctr, which takes an OCI configuration as it is."""

import json
from collections.abc import Sequence

from . import oci
from .runtime import Asked, Runtime

CONFIGURATION = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{folder}/s"
[ttrpc]
address = "{folder}/t"
"""


class Containerd(Runtime):
    """A containerd of its own, over runc."""

    name = "containerd"
    programs = ("containerd", "ctr", "runc")

    def serve_command(self) -> list[str]:
        """`containerd`."""
        path = self.folder / "config.toml"
        path.write_text(CONFIGURATION.format(folder=self.folder))
        return self.private(["containerd", f"--config={path}", "--log-level=warn"])

    def run_command(self, asked: Asked) -> list[str]:
        """`ctr run --config`."""
        rootfs = self.ground.copy_rootfs(self.folder / asked.name)
        config = self.folder / f"{asked.name}.json"
        config.write_text(json.dumps(oci.config(asked, rootfs)))
        runc = [f"--runc-binary={self.program}"] if self.wrapped else []
        return self.command("run", *runc, f"--config={config}", asked.name)

    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """`ctr task exec`."""
        return self.command("task", "exec", f"--exec-id=exec-{self.number()}", name, *words)

    def kill_command(self, name: str) -> list[str]:
        """`ctr task kill`: two that delete a task at once can leave its shim behind."""
        return self.command("task", "kill", "--signal=SIGKILL", name)

    def remove_commands(self, name: str) -> list[list[str]]:
        """`ctr task rm --force` and `ctr container rm`."""
        return [
            self.command("task", "rm", "--force", name),
            self.command("container", "rm", name),
        ]

    def command(self, *words: str) -> list[str]:
        """The client with these words."""
        return self.private(["ctr", f"--address={self.socket}", *words])
