"""structlog, set up: sentences for people, and events for the audit file, in one schema.

Only what is not a call comes this way. structlog is imported when a logger is made, not before: a
run that logs nothing must start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO, cast

from notifyd.events.event import sentence
from notifyd.events.sanitize import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor

    from notifyd.events.stream import EventStream

__all__ = ["RED", "RESET", "json_logger", "terminal_logger"]

RED, RESET = "\x1b[31m", "\x1b[0m"
_COLORS = {"warning": "\x1b[33m", "error": RED, "critical": RED}
_INFO = 20  # logging.INFO; the module costs more to import than the number


def terminal_logger(stream: TextIO, *, color: bool) -> FilteringBoundLogger:
    """A logger for a person: `notifyd: ` and one harmless sentence a line.

    An event of the catalogue becomes its sentence; any other text stands as it is, with its fields
    after it. A traceback follows, indented. Debug is silent.

    Args:
        stream: usually standard error; it stays the caller's.
        color: whether warnings are yellow and errors red.
    """
    import structlog

    def render(_logger: Any, level: str, event: EventDict) -> str:
        name, fields, traceback = _parts(event)
        text = sentence(name, fields)
        if color and level in _COLORS:
            text = f"{_COLORS[level]}{text}{RESET}"
        more = [f"    {printable(line, 400)}" for line in traceback.splitlines()]
        return "\n".join([f"notifyd: {text}", *more])

    return _logger([structlog.processors.format_exc_info, render], structlog.PrintLogger(stream))


def json_logger(sink: EventStream) -> FilteringBoundLogger:
    """A logger whose events go to `sink`, in order with the calls there.

    Fields are those of the call of the logger and those bound to it, with `level`; an exception
    becomes `traceback`. The sink stays the caller's.
    """
    import structlog

    def deliver(_logger: Any, level: str, event: EventDict) -> EventDict:
        name, fields, traceback = _parts(event)
        sink.event(name, **{"level": level, **fields, "traceback": traceback or None})
        raise structlog.DropEvent

    return _logger([structlog.processors.format_exc_info, deliver], structlog.ReturnLogger())


def _parts(event: EventDict) -> tuple[str, dict[str, Any], str]:
    """Name, fields and traceback of what structlog hands on."""
    fields = dict(event)
    name = str(fields.pop("event", ""))
    traceback = fields.pop("traceback", None)
    traceback = fields.pop("exception", None) or traceback
    return name, fields, str(traceback or "")


def _logger(processors: list[Processor], target: Any) -> FilteringBoundLogger:
    import structlog

    return cast(
        "FilteringBoundLogger",
        structlog.wrap_logger(
            target,
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(_INFO),
            context_class=dict,
            cache_logger_on_first_use=False,
        ),
    )
