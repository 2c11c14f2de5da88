"""The daemon's event log, opened as its configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from notifyd.daemon.config import Audit
from notifyd.events.background import BackgroundSink, EventWriter
from notifyd.events.database import Database
from notifyd.events.journal import Journal
from notifyd.events.jsonl import JsonLines, LogSettings, to_stderr
from notifyd.events.redact import Redactor
from notifyd.events.rotation import RotationPolicy
from notifyd.events.select import seconds_of
from notifyd.events.signing import Signer

__all__ = ["bytes_of", "open_log", "rotate"]

# By the key of `[audit]` that asks for it: what makes a sink's writer, given the key's value.
_SINKS: Mapping[str, Callable[[Any], EventWriter]] = MappingProxyType(
    {"journal": lambda _: Journal(), "database": Database}
)
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def open_log(config: Audit, complain: Callable[[str], None] = to_stderr) -> JsonLines:
    """Open the audit file, and whatever else gets the events.

    Raises:
        UsageError: the file or its key cannot be opened; the text says what to do.
    """
    manner = LogSettings(
        keeping=RotationPolicy(
            max_size=bytes_of(config.max_size or 0),
            max_age=seconds_of(config.max_age) if config.max_age else 0,
            keep=config.keep,
            compress=config.compress,
        ),
        signer=Signer.open(config.key_path),
        redactor=Redactor(config.redact) if config.redact else None,
        patient=config.on_full == "refuse",
    )
    log = JsonLines.open(config.path, complain, manner)
    for name, make in _SINKS.items():
        if asked := getattr(config, name):
            log.send_to(BackgroundSink(partial(make, asked), name, complain))
    return log


def bytes_of(size: int | str) -> int:
    """A number of bytes, as `100M` means it."""
    return size if isinstance(size, int) else int(size[:-1]) * _SIZES[size[-1]]


def rotate(audit: JsonLines | None) -> bool:
    """Begin a new audit file; whether there is one, and it could be."""
    return audit is not None and audit.rotate()
