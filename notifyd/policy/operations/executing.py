"""Starting programs: `Exec`."""

from __future__ import annotations

from typing import Any

from notifyd.policy.bound import BoundCall, Variant
from notifyd.policy.call import Call, Note, Origin
from notifyd.policy.fields import DirFd, Field, Flags, Path, Pathname, Strings
from notifyd.policy.names.path import AT_EXEC_FLAGS
from notifyd.policy.sources import call

__all__ = ["Digest", "Exec"]


class Digest(Field[str]):
    """The SHA-256 of a file that a call names, as 64 lower-case hexadecimal digits.

    Args:
        path: the `Path` field of the file.
    """

    memory = True
    derived = True
    kind = "digest"

    def __init__(self, summary: str, *, path: str = "path") -> None:
        super().__init__(summary)
        self.path = path

    def decode(self, call: BoundCall, raw: int) -> str:  # noqa: ARG002
        path = type(call).fields[self.path]
        assert isinstance(path, Path)
        dirfd = getattr(call, path.dirfd) if path.dirfd else -1
        return call.digest(dirfd, getattr(call, path.pathname), path.follows(call))

    def render(self, call: BoundCall) -> Any:
        # An event costs no look of its own: what the rule saw, if it asked.
        return call.seen.get(self.name)


class Exec(Call):
    """Execute a program: execve(2), execveat(2).

    No supervisor can execute for somebody else, so the kernel does, and reads the path and the
    arguments again after the rule has spoken. `Allow()` is therefore verified: before the first
    instruction of the new program its file, and what else the rule looked at, is compared with
    what the rule saw. If anything differs the process is killed, and an `exec.mismatch` tells so.

    The file named may be a script. Then its interpreter is the one that the script names, which no
    rule sees; and the interpreter opens the script by its name once more. A dynamic program can
    also be started by executing the dynamic loader itself.
    """

    __slots__ = ("read_itself",)
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given; empty with `AT_EMPTY_PATH`: the file of `dirfd`")
    path = Path(follow="follows", empty="flags")
    argv = Strings("the arguments, the program's name first")
    envp = Strings("the environment; never in events, for what it holds", recorded=False)
    flags = Flags(AT_EXEC_FLAGS, "of execveat")
    sha256 = Digest(
        "the SHA-256 of the very file that runs, 64 hexadecimal digits in lower case; empty where "
        "there is no regular file that notifyd could read"
    )

    variants = (
        call("execve", pathname=0, argv=1, envp=2),
        call("execveat", dirfd=0, pathname=1, argv=2, envp=3, flags=4),
    )

    def __init__(self, note: Note, variant: Variant, origin: Origin | None) -> None:
        super().__init__(note, variant, origin)
        self.read_itself = False

    def read(self, address: int, size: int) -> bytes:
        """As for any call; what was read so cannot be verified, and `Allow()` is refused then."""
        self.read_itself = True
        return super().read(address, size)

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """As for any call; what was read so cannot be verified, and `Allow()` is refused then."""
        self.read_itself = True
        return super().read_string(address, limit)

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & AT_EXEC_FLAGS["AT_SYMLINK_NOFOLLOW"]

    @property
    def only_checks(self) -> bool:
        """Whether nothing is executed: AT_EXECVE_CHECK, since Linux 6.14."""
        return bool(self.flags & AT_EXEC_FLAGS["AT_EXECVE_CHECK"])
