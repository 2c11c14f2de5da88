"""The target of a recorded call, whose memory is gone, and the call that knows so."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from notifyd.policy.bound import Variant
from notifyd.policy.call import Call
from notifyd.policy.sources import Const, Mem, Reg, Reg16, Word
from notifyd.replay.missing import Missing
from notifyd.target.process import TargetProcess
from notifyd.target.thread import StoppedThread

if TYPE_CHECKING:
    _Base = Call
else:
    _Base = object

__all__ = ["RecordedProcess", "RecordedTarget", "Replayed", "Seen"]


class RecordedProcess:
    """Who made the call: see `policy.call.Process`. What is not known raises NotRecorded."""

    __slots__ = ("_known", "_missing")

    def __init__(self, known: dict[str, Any], missing: Missing) -> None:
        self._known = known
        self._missing = missing

    def __getattr__(self, name: str) -> Any:
        if not hasattr(TargetProcess, name):
            raise AttributeError(f"a process has no attribute {name!r}")
        return self._known[name] if name in self._known else self._missing(f"process.{name}")


class RecordedTarget:
    """The thread of a recorded call: its process is known in part, and nothing else of it."""

    __slots__ = ("_missing", "process")

    def __init__(self, known: dict[str, Any], missing: Missing) -> None:
        self._missing = missing
        self.process = RecordedProcess(known, missing)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(StoppedThread, name):
            raise AttributeError(f"a target has no attribute {name!r}")
        self._missing("memory")


class Seen(dict[str, Any]):
    """The values on record. A look at one that lay in memory counts as a look at memory.

    Attributes:
        asked: the field in memory that was last asked for and is not here.
    """

    __slots__ = ("_call", "_in_memory", "_recorded", "asked")

    def __init__(self, call: Call, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked = ""
        self._call = call
        operation: Any = type(call)
        self._in_memory = _in_memory(operation, call.variant)
        self._recorded = self._in_memory & values.keys()

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        if not found and name in self._in_memory:
            self.asked = str(name)
        return found

    def __getitem__(self, name: str) -> Any:
        if name in self._recorded:
            self._call.looked = True
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 (this is that `get`)


@cache
def _in_memory(operation: Any, variant: Variant) -> frozenset[str]:
    """The fields of a call that lie in the target's memory, or are made of what does."""
    sources = variant.sources
    return frozenset(
        name
        for name, field in operation.fields.items()
        if field.memory or isinstance(sources.get(name), (Mem, Word))
    )


class Replayed(_Base):
    """Mixed into an operation: every look that the record cannot answer is missed, by its name."""

    __slots__ = ()

    @property
    def target(self) -> Any:
        return self.origin.target(self.note)

    def raw(self, name: str, default: int) -> int:
        source = self.variant.sources.get(name)
        if source is None or isinstance(source, (Reg, Reg16, Const)):
            return default if source is None else source.fetch(self)
        value = self.seen.get(name)
        # A condition on what lies in memory, and what it looks at is on record.
        return value if isinstance(value, int) else source.fetch(self)

    def read(self, address: int, size: int) -> NoReturn:  # noqa: ARG002
        self._missed("memory")

    def read_string(self, address: int, limit: int = 4096) -> NoReturn:  # noqa: ARG002
        self._missed("memory")

    def read_strings(self, *_: Any, **__: Any) -> NoReturn:
        self._missed("memory")

    def resolve(self, *_: Any, **__: Any) -> NoReturn:
        self._missed("a resolved path")

    def is_mount_point(self, path: object) -> NoReturn:  # noqa: ARG002
        self._missed("a resolved path")

    def digest(self, dirfd: int, pathname: bytes, follow: bool) -> NoReturn:  # noqa: ARG002
        self._missed("a digest")

    def _missed(self, what: str) -> NoReturn:
        asked = getattr(self.seen, "asked", "")
        origin: Any = self.origin
        missing: Missing = origin.missing
        missing(asked or what)
