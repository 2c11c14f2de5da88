"""Starting programs: `Exec`."""

from __future__ import annotations

from notifyd.policy.call import Call
from notifyd.policy.fields import DirFd, Flags, Path, Pathname, Strings
from notifyd.policy.names.path import AT_EXEC_FLAGS
from notifyd.policy.sources import call

__all__ = ["Exec"]


class Exec(Call):
    """Execute a program: execve(2), execveat(2).

    No supervisor can execute for somebody else, so the kernel reads the path again after the rule
    has spoken. The file named may be a script, whose interpreter no rule sees; a dynamic program
    can also be started by executing the dynamic loader itself.
    """

    __slots__ = ()
    theme = "files"

    dirfd = DirFd()
    pathname = Pathname("the path as given; empty with `AT_EMPTY_PATH`: the file of `dirfd`")
    path = Path(follow="follows")
    argv = Strings("the arguments, the program's name first")
    envp = Strings("the environment; never in events, for what it holds", recorded=False)
    flags = Flags(AT_EXEC_FLAGS, "of execveat")

    variants = (
        call("execve", pathname=0, argv=1, envp=2),
        call("execveat", dirfd=0, pathname=1, argv=2, envp=3, flags=4),
    )

    @property
    def follows(self) -> bool:
        """Whether a symbolic link in the last component is followed."""
        return not self.flags & AT_EXEC_FLAGS["AT_SYMLINK_NOFOLLOW"]

    @property
    def only_checks(self) -> bool:
        """Whether nothing is executed: AT_EXECVE_CHECK, since Linux 6.14."""
        return bool(self.flags & AT_EXEC_FLAGS["AT_EXECVE_CHECK"])
