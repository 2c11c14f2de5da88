"""runc and crun, which take a bundle."""

from collections.abc import Sequence

from . import cgroups, oci
from .runtime import Asked, Runtime


class Runc(Runtime):
    """runc by itself."""

    name = "runc"
    programs = ("runc",)
    user_namespaces = True

    def run_command(self, asked: Asked) -> list[str]:
        """`runc run`."""
        bundle = oci.make_bundle(self.ground, asked, self.folder / asked.name)
        return self.command("run", "--bundle", str(bundle), asked.name)

    def exec_command(self, name: str, words: Sequence[str]) -> list[str]:
        """`runc exec`."""
        return self.command("exec", name, *words)

    def remove_commands(self, name: str) -> list[list[str]]:
        """`runc delete --force`."""
        return [self.command("delete", "--force", name)]

    def command(self, *words: str) -> list[str]:
        """The program with these words, and a root of its own."""
        return self.private([self.program, "--root", str(self.folder / "state"), *words])


class OnOneVersion(Runtime):
    """What crun needs: it refuses machines that mount both versions of control groups."""

    def private(self, words: Sequence[str], *steps: str) -> list[str]:
        """As for others, with one version only."""
        return super().private(words, cgroups.one_version(), *steps)


class Crun(OnOneVersion, Runc):
    """crun by itself."""

    name = "crun"
    programs = ("crun",)
    real = "crun"
