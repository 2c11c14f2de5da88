"""What the administrator of a machine says to the runtime wrapper: /etc/notifyd/runtime.toml.

Who may start a container writes its annotations; who is root here writes this file. Rule files are
programs that the wrapper runs as root, and their options may name files of the machine. Therefore
annotations choose among the names that stand here, add to what every container gets and never take
anything away, and set only the options that stand here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from notifyd.bpf.oci.profile import FLAGS
from notifyd.container.compose import DEFAULT_LISTENER_PATH
from notifyd.errors import UsageError
from notifyd.policy.load import shipped
from notifyd.policy.trusted import read_trusted

__all__ = ["RuntimeSettings", "read_settings"]


class RuntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's keys.

    Attributes:
        runtime: the real runtime; by default what NOTIFYD_RUNTIME or PATH gives.
        listener: the daemon's socket.
        rules: for every container: names of shipped rules, or files by their absolute paths.
        choices: what an annotation may ask for beside them: a name, and the rule's name or file
            that it means. By default the rules that ship, by their names.
        options: for the rules of every container: by their names, one text or several.
        settable: the options that an annotation may set. By default none.
        flags: for the kernel, where the real runtime knows them: `SECCOMP_FILTER_FLAG_*`.
        metadata: what goes with every listener. By default a container's annotation says it, or
            else it is the names of its rules.
    """

    runtime: str = ""
    listener: str = DEFAULT_LISTENER_PATH
    rules: tuple[str, ...] = ()
    choices: Mapping[str, str] | None = None
    options: Mapping[str, str | tuple[str, ...]] = {}
    settable: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    metadata: str | None = None

    def rule(self, name: str) -> str:
        """The rule that an annotation's name means.

        Raises:
            UsageError: it is not one to choose.
        """
        choices = dict.fromkeys(shipped()) if self.choices is None else self.choices
        if name not in choices:
            raise UsageError(
                f"org.notifyd.rules: {name!r} is not one of the choices here; they are: "
                f"{', '.join(choices) or 'none'}"
            )
        return choices[name] or name


def read_settings(path: Path) -> RuntimeSettings:
    """The file, or the defaults if it is missing.

    Raises:
        UsageError: it cannot be read, others may write it, or it says something that it cannot say.
    """
    try:
        found = msgspec.toml.decode(read_trusted(path, unmapped=True), type=RuntimeSettings)
    except FileNotFoundError:
        return RuntimeSettings()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    if strange := sorted({*found.flags} - {*FLAGS}):
        raise UsageError(f"{path}: flags: {strange[0]}: none of {', '.join(FLAGS)}")
    for rule in (*found.rules, *(found.choices or {}).values()):
        if "/" in rule and not os.path.isabs(rule):
            raise UsageError(f"{path}: {rule}: give the absolute path of a rule file")
    return found
