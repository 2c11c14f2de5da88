"""LXC, which keeps the listener itself and asks a proxy about each call (lxc/src/lxc/seccomp.c)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .runtime import FIRST_USER, Asked, Profile, Runtime

ACTIONS = {"SCMP_ACT_NOTIFY": "notify", "SCMP_ACT_ERRNO": "errno 1", "SCMP_ACT_KILL": "kill"}


def seccomp_text(profile: Profile) -> str:
    """An OCI profile that allows by default, in LXC's own words (version 2)."""
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW", "only refusals and notifications"
    rules = [
        f"{name} {ACTIONS[rule['action']]}"
        for rule in profile.get("syscalls", ())
        for name in rule["names"]
    ]
    return "\n".join(["2", "denylist", *rules, ""])


class Lxc(Runtime):
    """LXC without a daemon; listenerPath is its proxy, listenerMetadata its cookie."""

    name = "lxc"
    programs = ("lxc-execute", "lxc-start", "lxc-attach", "lxc-stop")
    user_namespaces = True

    def private(self, words: Sequence[str], *steps: str) -> list[str]:
        """As for others, and root may give away the ids of user namespaces (newuidmap(1))."""
        allowed = self.folder / "subordinate"
        allowed.write_text(f"root:{FIRST_USER}:65536\n")
        files = [Path("/etc/subuid"), Path("/etc/subgid")]
        binds = [f"mount --bind {allowed} {file}" for file in files if file.exists()]
        return super().private(words, *binds, *steps)

    def run_command(self, asked: Asked) -> list[str]:
        """`lxc-execute`."""
        return self.command("lxc-execute", asked.name, self.configure(asked), asked.words)

    def start_command(self, asked: Asked) -> list[str]:
        """`lxc-start`, which leaves a monitor behind that shows the container's name."""
        configuration = self.configure(asked)
        return self.command("lxc-start", asked.name, configuration, asked.words, "--daemon")

    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """`lxc-attach`; the container's environment is not inherited, so it is given again."""
        variables = ["--clear-env", *(f"--set-var={one}" for one in self._environment)]
        return self.command("lxc-attach", name, self._configuration(name), words, *variables)

    def remove_commands(self, name: str) -> list[list[str]]:
        """`lxc-stop --kill`; nothing is remembered of one that ended."""
        return [self.private(["lxc-stop", f"--lxcpath={self.folder}", f"--name={name}", "--kill"])]

    def command(
        self, program: str, name: str, configuration: Path, words: Sequence[str], *options: str
    ) -> list[str]:
        """One of LXC's programs, about one container, and what it is to run there."""
        place = [f"--lxcpath={self.folder}", f"--name={name}", f"--rcfile={configuration}"]
        return self.private([program, *place, *options, "--", *words])

    def seccomp(self, name: str) -> Path:
        """The profile of a container, in LXC's words."""
        return self.folder / f"{name}.seccomp"

    def rootfs(self, name: str) -> Path:
        """The root file system of a container."""
        return self.folder / f"{name}.rootfs"

    @property
    def _environment(self) -> tuple[str, str]:
        return "PATH=/bin", self.ground.variable

    def _configuration(self, name: str) -> Path:
        return self.folder / f"{name}.conf"

    def configure(self, asked: Asked) -> Path:
        """Make its root file system, its seccomp profile and its configuration ready; the last."""
        owner = FIRST_USER if asked.user_namespace else 0
        rootfs = self.ground.copy_rootfs(self.rootfs(asked.name), owner)
        seccomp = self.seccomp(asked.name)
        seccomp.write_text(seccomp_text(asked.profile))
        lines = [
            f"lxc.rootfs.path = dir:{rootfs}",
            "lxc.uts.name = box",
            "lxc.net.0.type = empty",
            "lxc.cap.drop = mknod",
            "lxc.mount.auto = proc:mixed",
            f"lxc.cgroup.dir = {asked.mark}/{asked.name}",
            *(f"lxc.environment = {one}" for one in self._environment),
            f"lxc.seccomp.profile = {seccomp}",
            *_notifies(asked.profile),
        ]
        if asked.user_namespace:
            lines += [f"lxc.idmap = {kind} 0 {FIRST_USER} 65536" for kind in "ug"]
        path = self._configuration(asked.name)
        path.write_text("\n".join([*lines, ""]))
        return path


def _notifies(profile: Profile) -> Iterator[str]:
    if "listenerPath" in profile:
        yield f"lxc.seccomp.notify.proxy = unix:{profile['listenerPath']}"
    if "listenerMetadata" in profile:
        yield f"lxc.seccomp.notify.cookie = {profile['listenerMetadata']}"
