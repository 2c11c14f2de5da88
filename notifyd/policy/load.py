"""Loading rules: from a file, or by the name of one that is shipped; all or nothing.

Every failure is one line with file, line and remedy (`UsageError`).
"""

from __future__ import annotations

import ast
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from notifyd.errors import UsageError
from notifyd.policy.installed import PROGRAMS
from notifyd.policy.rule import (
    ASKS,
    DECLARED,
    OPTIONS,
    ORIGIN,
    WANTED,
    Declaration,
    Setting,
    names_ask,
)
from notifyd.policy.ruleset import RuleSet
from notifyd.policy.trusted import check_imports, read_trusted
from notifyd.policy.verdicts import Verdict

MAX_ERROR_CHARS = 500  # characters of what an exception says

T = TypeVar("T")
Read = Callable[[Path], bytes]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file that was read.

    Attributes:
        name: as a person calls it: `no-network`, or the file's path.
        declared: its rules in their order.
        wanted: its options by name.
    """

    name: str
    path: Path
    declared: tuple[Declaration, ...]
    wanted: Mapping[str, Setting]


def shipped_folder() -> Path:
    """Where the shipped rules lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent / "rules"


def shipped() -> dict[str, Path]:
    """The shipped rule files by name, sorted."""
    files = sorted(shipped_folder().glob("*.py"))
    return {path.stem.replace("_", "-"): path for path in files if path.stem != "__init__"}


def find(name: str) -> Path:
    """The file that `name` means: a shipped rule's name, or a path.

    Raises:
        UsageError: there is none; the nearest shipped name is suggested.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name)
    if _is_path(name):
        try:
            if path.is_file():
                return path
        except PermissionError:
            return path  # reading it says why; fs.protected_symlinks, proc(5)
        raise UsageError(f"no rule file {name}: check the path")
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "give a file with a / or .py,"
    raise UsageError(f"no shipped rule is named {name!r}; {hint} `notifyd rules` lists them")


def _is_path(name: str) -> bool:
    """Whether a name is that of a file, and of no shipped rule."""
    return "/" in name or name.endswith(".py")


def title(path: Path) -> str:
    """The first line of a rule file's docstring, without running it."""
    document = ast.get_docstring(ast.parse(path.read_bytes()))
    return (document or "").partition("\n")[0]


def read_obeyed(path: Path) -> bytes:
    """A rule file's text, of a file that nobody else may change, and nobody what it imports."""
    check_imports()
    return read_trusted(path)


def load_file(
    name: str,
    options: Mapping[str, Sequence[str]] | None = None,
    programs: Sequence[str] = (),
    read: Read = read_obeyed,
) -> RuleFile:
    """Read and run one rule file.

    Args:
        name: a shipped rule's name or a path.
        options: texts for the file's `option(...)`s, by their names.
        programs: paths of what is to be run, for `command_places()`.
        read: reads it, if it is none that ships.

    Raises:
        UsageError: no such file, others may write it, or the file fails; with file and line.
    """
    path = find(name)
    try:
        source = read(path) if _is_path(name) else path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    module = types.ModuleType(f"notifyd_rules.{path.stem}.{abs(hash(path)):x}")
    module.__file__ = str(path)
    setattr(module, OPTIONS, dict(options or {}))
    setattr(module, PROGRAMS, tuple(programs))
    setattr(module, ORIGIN, _origin(name, path, source))
    # dataclasses and typing look a class's module up by name while the file runs.
    sys.modules[module.__name__] = module
    try:
        code = compile(source, str(path), "exec")
        setattr(module, ASKS, names_ask(code))
        exec(code, module.__dict__)  # noqa: S102
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"{path}:{error.lineno or 1}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        place = f"{path}:{line_in(error, str(path)) or 1}"
        raise UsageError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
    finally:
        del sys.modules[module.__name__]
    declared = tuple(module.__dict__.get(DECLARED, ()))
    if not declared:
        raise UsageError(f"{path}: declares no rule; decorate a function with @on(...)")
    return RuleFile(name, path, declared, dict(module.__dict__.get(WANTED, {})))


def _origin(name: str, path: Path, source: bytes) -> str:
    """Which file it is: what ships changes with notifyd alone, what others write at any time."""
    if shipped().get(name) == path:
        return f"shipped {name}"
    return f"{path.resolve()} {hashlib.sha256(source).hexdigest()}"


def load(
    names: Iterable[str],
    *,
    options: Mapping[str, Sequence[str]] | None = None,
    otherwise: Verdict | None = None,
    strict: bool = False,
    deciding: bool = True,
    programs: Sequence[str] = (),
    read: Read = read_obeyed,
) -> RuleSet:
    """A rule set from rule files, in the order given. They add up: see `RuleSet`.

    Args:
        names: as `load_file` takes them.
        options: as there. A name with a rule's name and a dot before it is for that rule alone:
            `redirect-home.to`.
        otherwise: the verdict where no rule has an opinion.
        strict: refuse `Continue()` where memory was looked at.
        deciding: whether they are going to decide; if not, options that they need may be missing.
        programs: as `load_file` takes them.
        read: as there.

    Raises:
        UsageError: files that cannot be loaded, options that none knows, or that are needed and
            missing; a line for each.
    """
    given = options or {}
    files = each(names, lambda name: load_file(name, options_for(name, given), programs, read))
    wrong = list(_strange(files, given))
    if deciding:
        wrong += _missing(files, given)
    if wrong:
        raise UsageError("\n".join(wrong))
    return RuleSet.build(*(file.declared for file in files), otherwise=otherwise, strict=strict)


def options_for(name: str, options: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Those of `options` that are for one rule file: without its name, or with it before a dot."""
    found: dict[str, list[str]] = {}
    for option, texts in options.items():
        whose, dot, own = option.rpartition(".")
        if not dot or whose in (name, Path(name).stem):
            found.setdefault(own, []).extend(texts)
    return found


def _strange(files: Sequence[RuleFile], options: Mapping[str, Sequence[str]]) -> Iterator[str]:
    wanted = {option for file in files for option in file.wanted}
    known = f"they know: {', '.join(sorted(wanted))}" if wanted else "they take none"
    for option in options:
        if not any(options_for(file.name, {option: ()}).keys() & file.wanted for file in files):
            yield f"no option {option!r} in these rules; {known}"


def _missing(files: Sequence[RuleFile], options: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for file in files:
        for name, setting in file.wanted.items():
            if setting.needed and not options_for(file.name, options).get(name):
                yield (
                    f"{file.name} does nothing without its option {name!r} ({setting.summary}): "
                    "give it"
                )


def each(names: Iterable[str], make: Callable[[str], T]) -> list[T]:
    """What is made of every name.

    Raises:
        UsageError: `make` raised it, for one name or several; a line for each.
    """
    made, failed = list[T](), list[str]()
    for name in names:
        try:
            made.append(make(name))
        except UsageError as error:
            failed.append(str(error))
    if failed:
        raise UsageError("\n".join(failed))
    return made


def one_line(error: BaseException) -> str:
    """What an exception says, in one line of bearable length, whatever its own `str` does."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        return "its text cannot be shown"
    return text if len(text) <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]}…"


def line_in(error: BaseException, path: str) -> int:
    """The innermost line of a rule file that an exception came through; 0 if it did not."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
