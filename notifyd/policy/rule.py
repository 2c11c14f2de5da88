"""Declaring rules: `on`, `always` and `option`, as they stand in a rule file.

A declaration is noted in the namespace of the file that makes it, under `DECLARED`; loading reads
it there. So a rule file can also be imported and tested like any module, and nothing is global.
"""

from __future__ import annotations

import errno
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from notifyd.errors import UsageError
from notifyd.kernel.limits import MAX_ERRNO
from notifyd.policy.call import Call, Operation, Raw, RawCall
from notifyd.policy.conditions import NOTHING, Condition, as_condition, cut
from notifyd.policy.verdicts import VERDICTS, Allow, Ask, Deny, Kill, Verdict

DECLARED = "__notifyd_declared__"  # list of Rule and Always, in the order written
OPTIONS = "__notifyd_options__"  # dict of the option texts that the loader was given
WANTED = "__notifyd_wanted__"  # dict of the options that the file asked for
ORIGIN = "__notifyd_origin__"  # which file it is, as the loader knows it
ASKS = "__notifyd_asks__"  # whether the file names `Ask`, as the loader knows it

RULE_TIMEOUT_S = (
    30.0  # seconds; what a rule may take before its on_error speaks, unless it says otherwise
)


RuleFunction: TypeAlias = Callable[[Any], Any]
F = TypeVar("F", bound=RuleFunction)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What a declaration is about: operations, and what must hold of their registers.

    Attributes:
        operations: what it names.
        conditions: by field name, cut to the field's width.
        file: the file that declares it, and `line` the line.
        origin: which file that is, whatever it is called: what ships by its name, another by its
            absolute path and what it held when it was loaded.
    """

    operations: tuple[Operation, ...]
    conditions: Mapping[str, Condition]
    file: str
    line: int
    origin: str = ""

    @property
    def place(self) -> str:
        """`file:line`, for errors."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A function that decides. Calling it calls the function.

    Attributes:
        patience: seconds that one decision may take; None is without end.
        on_error: the verdict when it raises, is too slow, or returns what is no verdict.
        is_async: it gets a task of its own and may wait.
        may_ask: whether it could return `Ask`: its file has that name in it.
    """

    function: RuleFunction
    claim: Claim
    patience: float | None
    on_error: Verdict
    is_async: bool = field(default=False)

    @property
    def may_ask(self) -> bool:
        namespace = self.function.__globals__
        return (
            namespace.get(ASKS, False)
            or isinstance(self.on_error, Ask)
            or any(
                isinstance(one, Ask) or (_is_of(one, namespace) and names_ask(one.__code__))
                for one in namespace.values()
            )
        )

    @property
    def name(self) -> str:
        """`file.py:function`, as events name it."""
        return f"{self.claim.file.rpartition('/')[2]}:{self.function.__name__}"

    def __call__(self, call: Call) -> Any:
        return self.function(call)


@dataclass(frozen=True, slots=True, eq=False)
class Always:
    """A verdict that the kernel gives by itself, with no notification."""

    verdict: Allow | Deny | Kill
    claim: Claim

    @property
    def name(self) -> str:
        """`file.py:always`, as events name it."""
        return f"{self.claim.file.rpartition('/')[2]}:always"


Declaration: TypeAlias = Rule | Always


def on(
    *operations: Operation,
    patience: float | None = RULE_TIMEOUT_S,
    on_error: Verdict | None = None,
    **conditions: object,
) -> Callable[[F], F]:
    """Declare that the decorated function decides calls of `operations`.

    Args:
        operations: what it decides: `Open`, `Connect`, `Raw("sysinfo")`, ...
        patience: seconds after which an undecided call gets `on_error`. None waits without end.
        on_error: default `Deny(EPERM)`.
        conditions: by field name, a number, a set or range of numbers, or `has`, `lacks`,
            `between`, `is_not`. Calls that do not match never leave the kernel.

    Raises:
        TypeError: not an operation, no such field, a condition on what lies behind a pointer; what
            is decorated is no function of one call.
    """
    claim = _claim(operations, conditions)
    if patience is not None and not _is_time(patience):
        raise TypeError(f"patience={patience!r}: give seconds, or None to wait without end")
    fallback = Deny(errno.EPERM) if on_error is None else on_error
    if not isinstance(fallback, VERDICTS):
        raise TypeError(f"on_error is {on_error!r}, which is no verdict")

    def declare(function: F) -> F:
        _check_function(function)
        is_async = inspect.iscoroutinefunction(function)
        rule = Rule(function, claim, patience, fallback, is_async)
        function.__globals__.setdefault(DECLARED, []).append(rule)
        return function

    return declare


def always(verdict: Allow | Deny | Kill, *operations: Operation, **conditions: object) -> None:
    """Have the kernel itself give `verdict` to calls of `operations`: no notification, no cost.

    Where a condition is about an argument that the kernel's filter cannot see (i386's socketcall,
    openat2's flags), Deny and Kill refuse the call whatever it holds, and Allow does not apply.
    A call that a rule of an earlier file is about is notified, and that rule asked first.

    Args:
        verdict: `Deny`, `Kill` (ends the process as SIGSYS would) or a plain `Allow()`. That one
            speaks for its own file alone: other files are asked, unless it is `final`.
        operations: as for `on`.
        conditions: as for `on`.

    Raises:
        TypeError: as for `on`, or a verdict that the kernel cannot give.
    """
    plain = isinstance(verdict, (Deny, Kill)) or verdict in (Allow(), Allow(final=True))
    if not plain:
        raise TypeError(f"always() takes Deny, Kill or a plain Allow(), not {verdict!r}")
    if isinstance(verdict, Deny) and not is_errno(verdict.errno):
        raise TypeError(f"{verdict!r}: an errno is a number from 1 to {MAX_ERRNO}")
    claim = _claim(operations, conditions)
    caller = sys._getframe(1).f_globals
    caller.setdefault(DECLARED, []).append(Always(verdict, claim))


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that a rule file asked for; attributes as the arguments of `option`."""

    default: Any
    summary: str
    needed: bool


def option(
    name: str,
    default: T,
    *,
    convert: Callable[[str], Any] = str,
    summary: str = "",
    needed: bool = False,
) -> T:
    """A setting of a rule file: what the person who runs it gave with `--option`, or `default`.

    Args:
        name: as it is given: `--option name=value`.
        default: a tuple takes any number of values; anything else takes the last one given.
        convert: from the text that was given to one value; its ValueError or OSError becomes a
            usage error.
        summary: half a sentence for help.
        needed: whether the rules protect nothing without it. Then they are not put in force: it is
            a usage error. Where only their filter is wanted, they are loaded all the same.

    Raises:
        UsageError: a text that `convert` does not take.
    """
    caller = sys._getframe(1).f_globals
    caller.setdefault(WANTED, {})[name] = Setting(default, summary, needed)
    given: list[str] = caller.get(OPTIONS, {}).get(name, [])
    if not given:
        return default
    values = tuple(_converted(name, text, convert) for text in given)
    return values if isinstance(default, tuple) else values[-1]  # type: ignore[return-value]


def _converted(name: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--option {name}={text}: {reason}") from error


def _check_function(function: object) -> None:
    """See that a rule can be asked, before it fails at every call."""
    if not inspect.isfunction(function):
        raise TypeError(f"@on decorates a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__name__}() yields: a rule returns its verdict")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise TypeError(
            f"{function.__name__}() is given the call and nothing else: {error}"
        ) from error


def _is_of(value: Any, namespace: Mapping[str, object]) -> bool:
    return isinstance(value, types.FunctionType) and value.__globals__ is namespace


def names_ask(code: types.CodeType) -> bool:
    """Whether code, or what is defined in it, has the name `Ask` in it."""
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return "Ask" in code.co_names or any(map(names_ask, inner))


def _is_time(patience: object) -> bool:
    return isinstance(patience, int | float) and patience > 0


def is_errno(number: object) -> bool:
    """Whether the kernel takes a number for an errno."""
    return isinstance(number, int) and 0 < number <= MAX_ERRNO


def _claim(operations: tuple[Operation, ...], conditions: Mapping[str, object]) -> Claim:
    if not operations:
        raise TypeError("name at least one operation, as in @on(Open)")
    for operation in operations:
        if not isinstance(operation, Raw) and not _is_operation(operation):
            raise TypeError(f"{operation!r} is no operation; see `notifyd rules --operations`")
    caller = sys._getframe(2)
    checked: dict[str, Condition] = {}
    for operation in operations:
        for name, given in conditions.items():
            condition = _condition(operation, name, given)
            if checked.setdefault(name, condition) != condition:
                # One of them would be tested against bits that the kernel never looks at.
                raise TypeError(f"{name} has different widths in these operations; part them")
    file = caller.f_code.co_filename
    origin = caller.f_globals.get(ORIGIN) or file
    return Claim(operations, checked, file, caller.f_lineno, origin)


def _is_operation(operation: object) -> bool:
    return isinstance(operation, type) and issubclass(operation, Call) and bool(operation.variants)


def _condition(operation: Operation, name: str, given: object) -> Condition:
    fields = RawCall.fields if isinstance(operation, Raw) else operation.fields
    field_ = fields.get(name)
    title = repr(operation) if isinstance(operation, Raw) else operation.__name__
    if field_ is None:
        raise TypeError(f"{title} has no field {name!r}; it has {', '.join(sorted(fields))}")
    if field_.memory or field_.kind in ("device",):
        raise TypeError(f"{title}.{name} is not a register; look at it inside the rule")
    condition = as_condition(given)
    if condition is None:
        raise TypeError(
            f"{name}={given!r}: give a number, numbers, or has(), lacks(), between(), is_not()"
        )
    found = cut(condition, field_.width)
    if found == NOTHING:
        raise TypeError(
            f"{name}={given!r} holds for nothing: registers are unsigned, and this one has "
            f"{field_.width} bits"
        )
    return found
