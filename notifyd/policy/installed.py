"""Where the command that a person runs is installed, so that rules about files can leave it that.

What is found depends on links and files on the way. None of them may lie where the command could
have written in an earlier run: it would widen what it may read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from notifyd.kernel.limits import MAX_LINKS

__all__ = ["PROGRAMS", "command_places"]

PROGRAMS = "__notifyd_programs__"  # in a rule file's namespace: the command, and PATH's Python

MAX_PYVENV_CFG_BYTES = 1 << 16  # bytes of a pyvenv.cfg; Python writes some hundred
MAX_SHEBANG_BYTES = 256  # bytes of the first line of a script: BINPRM_BUF_SIZE

# What belongs to an installation. Its directory may be somebody's home or project: no more of it.
_PARTS = ("bin", "include", "lib", "lib32", "lib64", "libexec", "share", "pyvenv.cfg", "pip.conf")
_SYSTEM = (Path("/"), Path("/usr"), Path("/usr/local"))


def command_places(*, writable: Sequence[PurePosixPath] = ()) -> tuple[PurePosixPath, ...]:
    """What has to be readable for the very program to run that the person named.

    That is the command's own file, with the links that lead to it. Where it is of a virtual
    environment of Python, of another installation of Python outside of /usr, or of pyenv, that is
    readable too: programs, libraries and headers, and the Python that it was made from. The same
    goes for the `python3` and the `python` that PATH finds. Nothing, where no command is known: in
    a daemon, and in tests.

    Args:
        writable: places that the command may write. What lies there, and what a link or a
            `pyvenv.cfg` there says, is not followed.
    """
    programs: Iterable[str] = sys._getframe(1).f_globals.get(PROGRAMS, ())
    found = dict.fromkeys(
        place for one in programs for place in _of_program(Path(one), tuple(map(Path, writable)))
    )
    return tuple(PurePosixPath(one) for one in found)


def _of_program(program: Path, writable: tuple[Path, ...]) -> Iterator[Path]:
    """The file of a program, its links, and the Python that it is of or is run by."""
    way = _way(program)
    if not way or _is_below(way, writable) or not _is_program(way[-1]):
        return
    yield from way
    for step in way:
        yield from _of_directory(step.parent, writable)
    interpreter = _interpreter(way[-1])
    led = _way(interpreter) if interpreter is not None else []
    if led and not _is_below(led, writable):
        yield from (place for step in led for place in _of_directory(step.parent, writable))


def _way(path: Path) -> list[Path]:
    """Every symbolic link on the way, and the end of it, each by a name without links."""
    here, passed = Path("/"), list[Path]()
    todo = [part for part in path.absolute().parts if part != "/"]
    while todo:
        part = todo.pop(0)
        step = here.parent if part == ".." else here / part
        if not step.is_symlink():
            here = step
            continue
        passed.append(step)
        if len(passed) > MAX_LINKS:
            return []
        target = Path(os.readlink(step))
        here = Path("/") if target.is_absolute() else here
        todo[:0] = [one for one in target.parts if one != "/"]
    return [*passed, here]


def _is_below(paths: Iterable[Path], places: Iterable[Path]) -> bool:
    return any(path.is_relative_to(place) for path in paths for place in places)


def _is_program(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o111)


def _of_directory(folder: Path, writable: tuple[Path, ...], *, base: bool = True) -> Iterator[Path]:
    """What a directory of programs is a part of: pyenv, a virtual environment, a Python."""
    prefix = folder.parent
    if prefix in _SYSTEM or _is_below([prefix], writable):
        return
    if folder.name == "shims" and (prefix / "libexec" / "pyenv").is_file():
        yield prefix
    if folder.name != "bin":
        return
    settings = prefix / "pyvenv.cfg"
    if settings.is_file() or any(prefix.glob("lib/python3*/os.py")):
        yield from (prefix / part for part in _PARTS if (prefix / part).exists())
    home = _home(settings) if base else None
    for step in _way(home) if home is not None else ():
        yield from _of_directory(step, writable, base=False)


def _home(settings: Path) -> Path | None:
    """The directory of the Python that a virtual environment was made from: PEP 405."""
    try:
        with settings.open("rb") as file:
            lines = file.read(MAX_PYVENV_CFG_BYTES).splitlines()
    except OSError:
        return None
    said = (line.partition(b"=") for line in lines)
    homes = [value.strip() for key, _, value in said if key.strip().lower() == b"home"]
    return Path(os.fsdecode(homes[0])) if homes and homes[0].startswith(b"/") else None


def _interpreter(script: Path) -> Path | None:
    """The interpreter that the first line of a script names; None if there is no such line."""
    try:
        with script.open("rb") as file:
            line = file.read(MAX_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    return Path(os.fsdecode(words[0])) if words and words[0].startswith(b"/") else None
