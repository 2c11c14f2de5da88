"""Calls of which it counts whether a rule read memory by itself, beside their fields."""

from __future__ import annotations

from notifyd.policy.call import Call

__all__ = ["Watching"]

_ITSELF = "read by the rule itself"  # in `seen`, where it is the name of no field


class Watching(Call):
    """A call that knows whether a rule called `read` or its like."""

    __slots__ = ()

    @property
    def read_itself(self) -> bool:
        """Whether a rule read what no field tells: it is not known what that was."""
        return _ITSELF in self.seen

    def read(self, address: int, size: int) -> bytes:
        """As for any call."""
        self.seen[_ITSELF] = True
        return super().read(address, size)

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """As for any call."""
        self.seen[_ITSELF] = True
        return super().read_string(address, limit)

    def read_strings(
        self, address: int, max_strings: int, max_bytes: int, *, cut: bool = False
    ) -> tuple[bytes, ...]:
        """As for any call."""
        self.seen[_ITSELF] = True
        return super().read_strings(address, max_strings, max_bytes, cut=cut)
