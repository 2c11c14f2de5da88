"""Podman, which passes a profile's listenerPath on to its OCI runtime."""

from collections.abc import Sequence

from . import oci
from .ground import Ground
from .runc_like import OnOneVersion
from .runtime import Asked, Runtime

# The machine's own Podman must not notice us: no lock of its, no storage, no events.
CONFIGURATION = """
[containers]
default_ulimits = []
pids_limit = 0
netns = "none"
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
infra_image = ""
"""


class Podman(Runtime):
    """Podman over runc."""

    name = "podman"
    programs = ("podman", "conmon", "runc")

    def __init__(self, ground: Ground, wrapped: bool = False) -> None:
        super().__init__(ground, wrapped)
        self.configuration = self.folder / "containers.conf"
        self.configuration.write_text(CONFIGURATION)

    def run_command(self, asked: Asked) -> list[str]:
        """`podman run` with a root file system in place of an image."""
        rootfs = self.ground.copy_rootfs(self.folder / asked.name)
        annotations = [f"--annotation={_field(*one)}" for one in asked.annotations.items()]
        profile = oci.write_profile(asked, self.folder)
        return self.command(
            "run",
            f"--name={asked.name}",
            f"--cidfile={self.id_file(asked.name)}",
            f"--cgroup-parent=/{asked.mark}",
            f"--env={asked.variable}",
            f"--security-opt=seccomp={profile}",
            "--cap-drop=MKNOD",
            *annotations,
            "--rootfs",
            str(rootfs),
            *asked.words,
        )

    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """`podman exec`."""
        return self.command("exec", name, *words)

    def remove_commands(self, name: str) -> list[list[str]]:
        """`podman rm --force`."""
        return [self.command("rm", "--force", "--time=0", name)]

    def command(self, *words: str) -> list[str]:
        """Podman with these words, and with storage of its own."""
        own = {"root": "root", "runroot": "runroot", "tmpdir": "tmp"}
        places = [f"--{option}={self.folder / folder}" for option, folder in own.items()]
        program = ["podman", *places, "--storage-driver=vfs"]
        program += [f"--runtime={self.program}", *words]
        return self.private(["env", f"CONTAINERS_CONF={self.configuration}", *program])


class PodmanOverCrun(OnOneVersion, Podman):
    """The same over crun."""

    name = "podman-crun"
    programs = ("podman", "conmon", "crun")
    real = "crun"


def _field(key: str, value: str) -> str:
    # Podman reads a line of comma-separated values.
    text = f"{key}={value}".replace('"', '""')
    return f'"{text}"'
