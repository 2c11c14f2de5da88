"""`notifyd-runtime`: an OCI runtime that adds notifyd to containers and is then runc or crun.

Owns the reading of a runtime's command line, as far as that takes, and what is said when something
is wrong. Every call of an engine comes through here: only `create` and `run` import more than this.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

__all__ = ["RuntimeCommandLine", "main", "parse"]

SETTINGS = "/etc/notifyd/runtime.toml"  # NOTIFYD_RUNTIME_CONFIG names another
RUNTIMES = ("runc", "crun")  # looked for in this order
EXIT_FAILED = 1  # runc's and crun's own status when they cannot do what they should

# What stands before the command, and takes a value: `runc --help` 1.1 to 1.3, `crun --help` 1.8.
_VALUES = frozenset({"root", "log", "log-format", "criu", "rootless", "cgroup-manager"})
_SWITCHES = frozenset({"debug", "systemd-cgroup", "help", "h", "version", "v"})
# Those of `create`, `run` and `restore` that take a value.
_STARTS = frozenset({"create", "run", "restore"})
_BUNDLE = frozenset({"bundle", "b"})
_CONFIG = frozenset({"config", "f"})  # crun's


class WrapperError(Exception):
    """The container is not started; the text says why."""


@dataclass(frozen=True, slots=True)
class RuntimeCommandLine:
    """What is of interest in a runtime's command line.

    Attributes:
        command: `create`, `state`, ...; empty if there is none.
        log: where errors go besides standard error; empty if nowhere.
        as_json: whether as JSON lines.
        config: the `config.json` of the bundle, for commands that have one.
    """

    command: str = ""
    log: str = ""
    as_json: bool = False
    config: Path = Path("config.json")


def parse(arguments: Sequence[str]) -> RuntimeCommandLine:
    """Understand a command line of runc or crun.

    Raises:
        WrapperError: an option that is not known stands before the command, and there may be a
            container to start: what would be its value, and what the command?
    """
    found: dict[str, str] = {}
    left = list(arguments)
    while left and left[0].startswith("-") and left[0] != "--":
        name, equals, value = left.pop(0).lstrip("-").partition("=")
        if not equals and name in _VALUES and left:
            value = left.pop(0)
        elif name not in _VALUES | _SWITCHES and _STARTS & set(left):
            raise WrapperError(f"--{name}: notifyd-runtime does not know this option of a runtime")
        found[name] = value
    if left[:1] == ["--"]:  # runc and crun pass over it
        del left[0]
    command = left.pop(0) if left else ""
    bundle = Path(_value(left, _BUNDLE) or ".")
    return RuntimeCommandLine(
        command,
        found.get("log", ""),
        found.get("log-format") == "json",
        bundle / (_value(left, _CONFIG) or "config.json"),
    )


def _value(words: Sequence[str], names: frozenset[str]) -> str:
    """The last value of an option, as `--bundle DIR`, `--bundle=DIR`, `-b DIR` or `-bDIR`."""
    value = ""
    for at, word in enumerate(words):
        name, equals, text = word.partition("=")
        if word == "--":
            break
        if word.startswith("-") and name.lstrip("-") in names:
            value = text if equals else "".join(words[at + 1 : at + 2])
        elif word[:1] == "-" and word[1:2] in names and not equals:
            value = word[2:]
    return value


def main() -> NoReturn:
    """The entry point: the bundle is made ready if it has to be, and the runtime takes over."""
    arguments = sys.argv[1:]
    words = RuntimeCommandLine()
    try:
        words = parse(arguments)
        runtime = find_runtime()
        if words.command in _STARTS:
            _prepare(words, runtime)
        os.execv(runtime, [runtime, *arguments])  # noqa: S606
    except Exception as error:
        # Whatever it is: a container never starts without what was asked for.
        _complain(f"notifyd-runtime: {_line(error)}", words)
        sys.exit(EXIT_FAILED)


def _line(error: Exception) -> str:
    """An error as one line that moves nothing: names of containers and annotations are in it."""
    from notifyd.events.sanitize import printable

    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return printable(" ".join(text.split()), 4096) or type(error).__name__


def find_runtime() -> str:
    """The real runtime: NOTIFYD_RUNTIME, or `runtime` in the settings, or the first on PATH.

    Raises:
        WrapperError: there is no runtime, or it is this program.
    """
    named = os.environ.get("NOTIFYD_RUNTIME") or _named()
    folders = os.get_exec_path()
    for name in [named] if named else RUNTIMES:
        for folder in [""] if "/" in name else folders:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK) and os.path.isfile(path):
                if os.path.exists(sys.argv[0]) and os.path.samefile(path, sys.argv[0]):
                    raise WrapperError(f"{path}: this is notifyd-runtime itself; name runc or crun")
                return path
    raise WrapperError(
        f"no {named or 'runc or crun'} here: install one, or name it in {_settings_path()}"
    )


def _named() -> str:
    from notifyd.policy.trusted import read_trusted

    try:
        text = read_trusted(_settings_path(), unmapped=True).decode()
    except FileNotFoundError:
        return ""
    import tomllib

    try:
        return str(tomllib.loads(text).get("runtime", ""))
    except tomllib.TOMLDecodeError as error:
        raise WrapperError(f"{_settings_path()}: {error}") from error


def _settings_path() -> Path:
    return Path(os.environ.get("NOTIFYD_RUNTIME_CONFIG") or SETTINGS)


def _prepare(words: RuntimeCommandLine, runtime: str) -> None:
    from notifyd.container.bundle import prepare
    from notifyd.container.settings import read_settings

    name = "crun" if "crun" in os.path.basename(runtime) else "runc"
    settings = read_settings(_settings_path())
    prepare(words.config, settings, runtime=name, restores=words.command == "restore")


def _complain(text: str, words: RuntimeCommandLine) -> None:
    """Tell the person at the terminal, and the engine, which reads the last error of the log."""
    print(text, file=sys.stderr)
    kind, colon, rest = words.log.partition(":")
    path = (
        rest if colon and kind == "file" else words.log
    )  # crun also takes `file:` and `journald:`
    if not path or (colon and kind in ("journald", "syslog")):
        return
    time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    line = json.dumps({"level": "error", "msg": text, "time": time})
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line if words.as_json else f'time={time} level=error {text}'}\n")
    except OSError as error:
        print(f"notifyd-runtime: --log {path}: {error.strerror}", file=sys.stderr)
